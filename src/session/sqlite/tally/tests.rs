use jiff::Timestamp;

use super::MessageCount::Known;
use super::*;
use crate::session::store::Uncounted;

const NO_LIMIT: Room = Room { max: None, uncounted: Uncounted::Tell };

/// Begins run number `run`.
fn begin(tallies: &mut Tallies, id: SessionId, run: u8, row: u64, room: Room) -> Found {
    tallies.begin(id, &UserId::parse("ada").unwrap(), number(run), Known(row), room)
}

fn number(run: u8) -> RunId {
    RunId::from_bytes([run; 16])
}

fn of(max: u64) -> Room {
    Room { max: Some(max), ..NO_LIMIT }
}

fn messages(messages: u64) -> Settlement {
    Settlement { messages, ..Settlement::default() }
}

#[test]
fn a_message_is_counted_once_from_its_run_to_its_row() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    for (run, found) in [(0, Found::Place), (1, Found::Place), (2, Found::Full)] {
        assert_eq!(begin(&mut tallies, id, run, 3, of(5)), found);
    }
    let left = tallies.settle(id, number(0), messages(1));
    assert_eq!(left, Some(Unwritten { messages: 1, is_first: true }));
    let full = |tallies: &mut Tallies, row| {
        assert_eq!(begin(tallies, id, 2, row, of(5)), Found::Full);
        assert_eq!(begin(tallies, id, 2, row, of(6)), Found::Place);
        assert_eq!(tallies.settle(id, number(2), messages(0)), None, "nothing to write");
    };
    full(&mut tallies, 3);
    assert_eq!(tallies.take_dirty().len(), 1);
    full(&mut tallies, 3);
    tallies.written(id);
    full(&mut tallies, 4);
    assert_eq!(tallies.settle(id, number(1), messages(0)), None);
    assert_eq!(tallies.len(), 0);
}

#[test]
fn a_run_has_one_place_and_ends_once() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    assert_eq!(begin(&mut tallies, id, 0, 0, of(1)), Found::Place);
    assert_eq!(begin(&mut tallies, id, 0, 0, of(1)), Found::Old);
    assert_eq!(begin(&mut tallies, id, 1, 0, of(1)), Found::Full);
    assert_eq!(tallies.settle(id, number(1), messages(7)), None);
    assert!(tallies.settle(id, number(0), messages(2)).is_some());
    // What is left is still to be written, and nothing more is.
    let again = tallies.settle(id, number(0), messages(7));
    assert_eq!(again, Some(Unwritten { messages: 2, is_first: false }));
    assert_eq!(tallies.take_dirty(), [(id, Pending { messages: 2, ..Pending::default() })]);
    tallies.written(id);
    assert_eq!(tallies.settle(id, number(0), messages(7)), None);
    assert_eq!(tallies.len(), 0);
}

#[test]
fn a_run_gives_back_the_lease_that_it_has() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    let ada = UserId::parse("ada").unwrap();
    // Its time is up, and the second takes it over.
    for run in [0, 1] {
        assert!(tallies.begin_first(id, &ada, number(run)));
        assert!(!tallies.begin_first(id, &ada, number(run)));
    }
    assert_eq!(tallies.settle(id, number(0), messages(0)), None);
    assert!(tallies.settle(id, number(1), messages(0)).is_some());
    let left = Pending { lease: Some(number(1)), ..Pending::default() };
    assert_eq!(tallies.take_dirty(), [(id, left)]);
    tallies.written(id);
    // What it is bound with is used up.
    assert!(tallies.begin_first(id, &ada, number(2)));
    tallies.bound(id, number(2));
    assert_eq!(tallies.settle(id, number(2), messages(0)), None);
    assert_eq!(tallies.len(), 0);
}

#[test]
fn what_one_run_discards_is_not_what_another_has() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    let ada = UserId::parse("ada").unwrap();
    let discarding = Settlement { discard_unbound: true, ..messages(0) };
    // The second has taken the lease over in the batch in which the first ended.
    assert!(tallies.begin_first(id, &ada, number(0)));
    assert!(tallies.settle(id, number(0), discarding).is_some());
    assert!(tallies.begin_first(id, &ada, number(1)));
    assert!(tallies.settle(id, number(1), messages(2)).is_some());
    let left = Pending {
        lease: Some(number(1)),
        discard: Some(number(0)),
        messages: 2,
        ..Pending::default()
    };
    assert_eq!(tallies.take_dirty(), [(id, left)]);
}

#[test]
fn who_has_no_lock_finds_the_count_while_it_is_committed() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    for run in [0, 1] {
        assert_eq!(begin(&mut tallies, id, run, 3, NO_LIMIT), Found::Place);
    }
    tallies.settle(id, number(0), messages(2));
    tallies.take_dirty();
    tallies.settle(id, number(1), messages(1));
    let shown = |tallies: &Tallies, row| {
        let overlay = tallies.overlay(id).unwrap();
        let (mut count, mut at, mut title) = (Known(row), Timestamp::UNIX_EPOCH, None);
        overlay.apply(&mut count, &mut at, &mut title);
        count
    };
    // Another process has written three messages meanwhile.
    assert_eq!(shown(&tallies, 6), Known(9));
    let before = tallies.commits();
    tallies.committing(&[(id, Some(Known(8)))]);
    assert_eq!([shown(&tallies, 6), shown(&tallies, 8)], [Known(9), Known(9)]);
    tallies.committed();
    tallies.written(id);
    assert_eq!(shown(&tallies, 8), Known(9));
    assert_eq!(tallies.commits() - before, 2);
}

#[test]
fn a_lock_is_one_holders() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    let lock = |tallies: &mut Tallies, holder| tallies.lock(id, holder).unwrap();
    assert!(lock(&mut tallies, Holder::Caller));
    assert!(!lock(&mut tallies, Holder::Caller) && !lock(&mut tallies, Holder::Writer));
    tallies.unlock(id);
    assert!(lock(&mut tallies, Holder::Writer) && lock(&mut tallies, Holder::Writer));
    assert!(!lock(&mut tallies, Holder::Caller));
    assert_eq!(tallies.len(), 1);
    tallies.unlock_batch();
    assert_eq!(tallies.len(), 0);
}

#[test]
fn what_is_unwritten_is_found_by_whose_it_is() {
    let users = ["ada", "adb", "ad"].map(|id| UserId::parse(id).unwrap());
    let mut tallies = Tallies::default();
    let ids = [[0; 16], [255; 16], [7; 16]].map(SessionId::from_bytes);
    for (id, user_id) in ids.into_iter().zip(&users) {
        for run in [0, 1] {
            let found = tallies.begin(id, user_id, number(run), Known(0), NO_LIMIT);
            assert_eq!(found, Found::Place);
        }
        assert!(tallies.overlays_of(user_id).is_empty());
        tallies.settle(id, number(0), messages(0));
        assert!(tallies.overlays_of(user_id).is_empty());
        tallies.settle(id, number(1), messages(1));
    }
    let found = |tallies: &Tallies| {
        let of = |user_id| tallies.overlays_of(user_id).into_keys().collect::<Vec<_>>();
        users.each_ref().map(of).concat()
    };
    assert_eq!(found(&tallies), ids);
    tallies.take_dirty();
    assert_eq!(found(&tallies), ids);
    tallies.written(ids[0]);
    tallies.not_written(ids[1]);
    assert_eq!(found(&tallies), ids[1..]);
    tallies.take_dirty();
    ids[1..].iter().for_each(|id| tallies.written(*id));
    assert_eq!((found(&tallies), tallies.unwritten.len()), (Vec::new(), 0));
}

#[test]
fn what_could_not_be_written_is_merged_with_what_came_later() {
    let (id, mut tallies) = (SessionId::random(), Tallies::default());
    assert!(tallies.begin_first(id, &UserId::parse("ada").unwrap(), number(0)));
    for run in [1, 2] {
        assert_eq!(begin(&mut tallies, id, run, 0, NO_LIMIT), Found::Place);
    }
    let title = |text: &str| Some(Some(text.to_owned()));
    tallies.settle(id, number(0), Settlement { title: title("a"), ..messages(1) });
    tallies.take_dirty();
    tallies.settle(id, number(1), Settlement { title: title("b"), ..messages(2) });
    let overlay = tallies.overlay(id).unwrap();
    assert_eq!((overlay.messages, overlay.row, overlay.title), (3, None, title("b")));
    tallies.not_written(id);
    let left = tallies.settle(id, number(2), messages(4));
    assert!(!left.unwrap().is_first, "the writer has been told already");
    let merged = Pending {
        messages: 7,
        title: title("b"),
        touched_at: None,
        lease: Some(number(0)),
        discard: None,
    };
    assert_eq!(tallies.take_dirty(), [(id, merged)]);
    tallies.written(id);
    assert_eq!((tallies.len(), tallies.overlay(id)), (0, None));
}
