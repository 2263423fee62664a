//! What users know of what is theirs.

pub(crate) const USERS: [&str; 3] = ["ada", "bob", "eve"];

/// All that a user was told, and has asked for.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) sessions: Vec<Known>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) clients: Vec<Client>,
    /// The titles of sessions of which it is not known whether they were made.
    pub(crate) unanswered: Vec<String>,
    /// The conversations of which it is not.
    pub(crate) unanswered_chats: usize,
    /// How many sessions were asked for, how many of these were refused, and how many are deleted.
    pub(crate) asked: usize,
    pub(crate) refused: usize,
    pub(crate) deleted: usize,
    said: usize,
}

/// A session that a user was told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) conversation: Option<u64>,
    /// What it may be called.
    pub(crate) titles: Vec<Title>,
    /// How many titles it was to be given, and how many of these are under way.
    pub(crate) titled: usize,
    pub(crate) titling: usize,
    pub(crate) is_deleted: bool,
    pub(crate) may_be_deleted: bool,
    /// What was said there, and whether that was answered whole.
    pub(crate) said: Vec<(String, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Title {
    pub(crate) text: Option<String>,
    /// Nobody said that it was set.
    pub(crate) is_open: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    pub(crate) is_deleted: bool,
    pub(crate) may_be_deleted: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) is_cancelled: bool,
    pub(crate) may_be_cancelled: bool,
}

impl Account {
    /// Gives a text that only this user has, and only once.
    pub(crate) fn words(&mut self, user: usize) -> String {
        self.said += 1;
        format!("word:{}:{}", USERS[user], self.said)
    }

    /// Adds a session that a user was told of.
    pub(crate) fn learn(&mut self, id: &str, conversation: Option<u64>, title: Option<String>) {
        let titles = vec![Title { text: title, is_open: false }];
        let id = id.to_owned();
        self.sessions.push(Known { id, conversation, titles, ..Known::default() });
    }
}

impl Known {
    pub(crate) fn may_be_called(&self, title: Option<&str>) -> bool {
        self.titles.iter().any(|known| known.text.as_deref() == title)
    }

    /// Notes that it is being given a title, and tells what has to be known at the end.
    pub(crate) fn begin_title(&mut self, text: &str) -> (usize, bool) {
        self.titles.push(Title { text: Some(text.to_owned()), is_open: true });
        self.titled += 1;
        self.titling += 1;
        (self.titled, self.titling == 1)
    }

    /// Notes what became of it.
    pub(crate) fn end_title(&mut self, text: &str, (number, alone): (usize, bool), done: bool) {
        self.titling -= 1;
        if !done {
            return;
        }
        let is_last = alone && self.titled == number;
        let mine = |title: &Title| title.text.as_deref() == Some(text);
        // What nobody answered may yet be done.
        self.titles.retain(|title| mine(title) || title.is_open || !is_last);
        for title in self.titles.iter_mut().filter(|title| mine(title)) {
            title.is_open = false;
        }
    }
}
