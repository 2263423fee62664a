//! Reading the few fields of a ChatKit event that the gateway needs, while its bytes pass.
//!
//! An incremental reader of one JSON object: it keeps where it is (depth, current key) and
//! copies only the handful of short strings it is looking for. It accepts any key order, any
//! split and any white space, needs no event to be whole (an event may be megabytes long), and
//! stops looking as soon as it knows what it needs. What is not valid JSON gives no fields;
//! judging the upstream's JSON is not its job.

use std::borrow::Cow;

use memchr::memchr2;

use super::event::EventKind;
use super::item::{ItemKind, Signs};

/// Of a key or a name, as it is written: the longest of interest has 20 bytes, or 120 if every
/// one of them is a `\u` escape.
const MAX_NAME_BYTES: usize = 120;
const MAX_ID_BYTES: usize = 512;
/// More than the longest title that is kept has, however it is written.
const MAX_TITLE_BYTES: usize = 4096;
/// The longest of what is one character: an escaped surrogate pair.
const MAX_CHAR_BYTES: usize = 12;
const MAX_MESSAGE_BYTES: usize = 8192;

/// Where a string or literal of interest belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    AllowRetry,
    Code,
    Content,
    Error,
    Item,
    ItemId,
    ItemType,
    Message,
    None,
    PartType,
    Role,
    Thread,
    ThreadId,
    Title,
    Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lex {
    /// Between tokens, or in a literal.
    Between,
    /// In a number that is an id.
    Number,
    /// In a string; `escaped`: the next byte belongs to a backslash.
    String { escaped: bool },
}

/// Tells whether an event begins with its type, as a ChatKit server writes it, and is nothing but
/// [`EventKind::Other`]: so does each delta, and this spares it the lexer.
fn is_of_no_interest(bytes: &[u8], after_output: bool) -> bool {
    if bytes.starts_with(br#"{"type":"thread.item.updated""#) {
        return true;
    }
    let Some(name) = bytes.strip_prefix(br#"{"type":""#) else { return false };
    let Some(end) = memchr2(b'"', b'\\', name) else { return false };
    let (name, rest) = name.split_at(end);
    rest.first() == Some(&b'"') && kind(name, after_output) == EventKind::Other
}

/// Tells the kind of an event. What was added, replaced or removed, and what is about no item,
/// matters while it may belong to the preamble.
fn kind(name: &[u8], after_output: bool) -> EventKind {
    match EventKind::parse(name) {
        EventKind::Aside
        | EventKind::ItemAdded
        | EventKind::ItemRemoved
        | EventKind::ItemReplaced
            if after_output =>
        {
            EventKind::Other
        }
        kind => kind,
    }
}

/// Tells whether a byte may belong to a JSON number.
fn is_numeric(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// What is known of the current event.
#[derive(Debug)]
pub(crate) struct Fields {
    lex: Lex,
    depth: u32,
    /// The index of the current container, if it is one whose keys are read.
    level: Option<usize>,
    /// The containers whose keys are read are objects: at depth 1, at depth 2, and the parts of an
    /// item's content.
    objects: [bool; 3],
    /// The depth of those parts: one alone may stand for a list of them.
    part_depth: u32,
    /// The next string in such a container is a key.
    expect_key: bool,
    /// The string being read is a key.
    in_key: bool,
    /// The keys on the way there.
    slots: [Slot; 3],
    /// Where the string being read goes, and how long it may get.
    capturing: Option<usize>,
    raw: Vec<u8>,
    /// Output has passed.
    pub(crate) after_output: bool,

    pub(crate) kind: Option<EventKind>,
    /// What the item's type says, if that is one of ChatKit's.
    pub(crate) item_kind: Option<ItemKind>,
    signs: Signs,
    pub(crate) item_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) allow_retry: Option<bool>,
}

impl Fields {
    pub(crate) fn new() -> Self {
        Self {
            lex: Lex::Between,
            depth: 0,
            level: None,
            objects: [false; 3],
            part_depth: 0,
            expect_key: false,
            in_key: false,
            slots: [Slot::None; 3],
            capturing: None,
            raw: Vec::new(),
            after_output: false,
            kind: None,
            item_kind: None,
            signs: Signs::default(),
            item_id: None,
            thread_id: None,
            title: None,
            code: None,
            message: None,
            allow_retry: None,
        }
    }

    /// Forgets the event, keeps the buffer.
    pub(crate) fn reset(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        *self = Self { raw, after_output: self.after_output, ..Self::new() };
        self.raw.clear();
    }

    /// Reads on. `false`: what follows in this event is of no interest.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        if self.is_fresh() && is_of_no_interest(bytes, self.after_output) {
            self.kind = Some(EventKind::Other);
            return false;
        }
        loop {
            match self.lex {
                Lex::Between => {
                    let Some((&byte, rest)) = bytes.split_first() else { return true };
                    bytes = rest;
                    self.between(byte);
                }
                Lex::Number => {
                    let Some(end) = bytes.iter().position(|&byte| !is_numeric(byte)) else {
                        self.capture(bytes);
                        return true;
                    };
                    let (digits, rest) = bytes.split_at(end);
                    self.capture(digits);
                    bytes = rest;
                    self.lex = Lex::Between;
                    self.end_number();
                    if self.is_complete() {
                        return false;
                    }
                }
                Lex::String { escaped: true } => {
                    let Some((&byte, rest)) = bytes.split_first() else { return true };
                    bytes = rest;
                    self.capture(&[byte]);
                    self.lex = Lex::String { escaped: false };
                }
                Lex::String { escaped: false } => {
                    let Some(end) = memchr2(b'"', b'\\', bytes) else {
                        self.capture(bytes);
                        return true;
                    };
                    let (text, rest) = bytes.split_at(end);
                    self.capture(text);
                    let Some((&byte, rest)) = rest.split_first() else { return true };
                    bytes = rest;
                    if byte == b'\\' {
                        self.capture(b"\\");
                        self.lex = Lex::String { escaped: true };
                    } else {
                        self.lex = Lex::Between;
                        self.end_string();
                        if self.is_complete() {
                            return false;
                        }
                    }
                }
            }
        }
    }

    /// Tells whether nothing of the event has been read.
    fn is_fresh(&self) -> bool {
        self.depth == 0 && self.kind.is_none() && self.lex == Lex::Between
    }

    /// Tells whether the event, which has ended, is no object with a type: nothing, or the `[DONE]`
    /// of hand-made servers. One that was broken off in the middle could have been anything.
    pub(crate) fn says_nothing(&self) -> bool {
        self.kind.is_none() && self.depth == 0
    }

    /// Gives what the event's item is, as far as it has been read.
    pub(crate) fn item(&self) -> Option<ItemKind> {
        self.item_kind.or_else(|| self.signs.kind())
    }

    /// Tells whether nothing that may follow matters. An item whose type isn't known is read to its
    /// end, for what else may tell it.
    fn is_complete(&self) -> bool {
        match self.kind {
            None => false,
            Some(EventKind::ItemDone) => self.item_kind.is_some() && self.item_id.is_some(),
            Some(EventKind::ItemAdded | EventKind::ItemReplaced) => self.item_kind.is_some(),
            Some(EventKind::Error | EventKind::ThreadCreated | EventKind::ThreadUpdated) => false,
            Some(_) => true,
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.lex = Lex::String { escaped: false };
                self.begin_string();
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth == 3 && self.is_within_content() {
                    self.signs.has_content = true;
                    self.part_depth = if byte == b'{' { 3 } else { 4 };
                }
                self.level = self.level();
                if let Some(level) = self.level {
                    if let (Some(object), Some(slot)) =
                        (self.objects.get_mut(level), self.slots.get_mut(level))
                    {
                        *object = byte == b'{';
                        *slot = Slot::None;
                    }
                    self.expect_key = byte == b'{';
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.level = self.level();
                self.expect_key = false;
            }
            b',' => self.expect_key = self.in_object(),
            b':' => self.expect_key = false,
            b't' | b'f' if self.value_slot() == Slot::AllowRetry => {
                self.allow_retry.get_or_insert(byte == b't');
            }
            b't' | b'f' | b'-' | b'0'..=b'9' if self.value_slot() == Slot::Content => {
                self.signs.has_content = true;
            }
            // Some servers count their ids.
            b'-' | b'0'..=b'9' if matches!(self.value_slot(), Slot::ThreadId | Slot::ItemId) => {
                self.lex = Lex::Number;
                self.raw.clear();
                self.capturing = Some(MAX_ID_BYTES);
                self.capture(&[byte]);
            }
            _ => {}
        }
    }

    /// Gives the [`level`](Self::level) at this depth: what else it hangs on are keys further out.
    fn level(&self) -> Option<usize> {
        match self.depth {
            1 => Some(0),
            2 if matches!(self.slots, [Slot::Thread | Slot::Item | Slot::Error, ..]) => Some(1),
            depth if depth == self.part_depth && self.is_within_content() => Some(2),
            _ => None,
        }
    }

    fn is_within_content(&self) -> bool {
        matches!(self.slots, [Slot::Item, Slot::Content, _])
    }

    fn in_object(&self) -> bool {
        self.level.and_then(|level| self.objects.get(level)).copied().unwrap_or(false)
    }

    /// Gives the slot of the value that comes next.
    fn value_slot(&self) -> Slot {
        if !self.in_object() {
            return Slot::None;
        }
        self.level.and_then(|level| self.slots.get(level)).copied().unwrap_or(Slot::None)
    }

    fn begin_string(&mut self) {
        self.raw.clear();
        self.in_key = self.expect_key && self.in_object();
        self.capturing = if self.in_key {
            Some(MAX_NAME_BYTES)
        } else {
            match self.value_slot() {
                Slot::Type | Slot::ItemType | Slot::PartType | Slot::Role | Slot::Code => {
                    Some(MAX_NAME_BYTES)
                }
                Slot::ThreadId | Slot::ItemId => Some(MAX_ID_BYTES),
                Slot::Title => Some(MAX_TITLE_BYTES),
                Slot::Message => Some(MAX_MESSAGE_BYTES),
                Slot::Content => {
                    self.signs.has_content = true;
                    None
                }
                Slot::AllowRetry | Slot::Error | Slot::Item | Slot::None | Slot::Thread => None,
            }
        };
    }

    fn capture(&mut self, bytes: &[u8]) {
        if let Some(limit) = self.capturing {
            if self.raw.len() + bytes.len() > limit {
                self.overflow(bytes, limit);
            } else {
                self.raw.extend_from_slice(bytes);
            }
        }
    }

    /// Takes what is too long. Of a title, its beginning will do.
    #[cold]
    fn overflow(&mut self, bytes: &[u8], limit: usize) {
        if !self.in_key && self.value_slot() == Slot::Title {
            let room = limit.saturating_sub(self.raw.len());
            self.raw.extend_from_slice(bytes.get(..room).unwrap_or_default());
        } else {
            self.capturing = None;
        }
    }

    fn end_string(&mut self) {
        let captured = self.capturing.take().is_some();
        if self.in_key {
            self.in_key = false;
            self.expect_key = false;
            let slot = if captured { self.key_slot() } else { Slot::None };
            if let Some(place) = self.level.and_then(|level| self.slots.get_mut(level)) {
                *place = slot;
            }
            return;
        }
        if !captured {
            // A name that is longer than any that is known.
            match self.value_slot() {
                Slot::ItemType => self.item_type(b"?"),
                Slot::Type if self.kind.is_none() => {
                    self.kind = Some(kind(b"?", self.after_output));
                }
                _ => {}
            }
            return;
        }
        match self.value_slot() {
            // The first, if there are several: it may have been told before the others came.
            Slot::Type if self.kind.is_some() => {}
            Slot::Type => self.kind = Some(kind(&self.name(), self.after_output)),
            Slot::ItemType => {
                let name = self.name().into_owned();
                self.item_type(&name);
            }
            Slot::PartType => {
                let name = self.name().into_owned();
                self.signs.saw_part(&name);
            }
            Slot::Role => {
                let name = self.name().into_owned();
                self.signs.saw_role(&name);
            }
            Slot::ItemId => self.item_id = self.text(),
            Slot::ThreadId => self.thread(),
            Slot::Title => self.title = self.beginning(),
            Slot::Code => self.code = self.text(),
            Slot::Message => self.message = self.text(),
            Slot::AllowRetry
            | Slot::Content
            | Slot::Error
            | Slot::Item
            | Slot::None
            | Slot::Thread => {}
        }
    }

    /// Notes an item's type. The last counts, but that what is hidden stays so.
    fn item_type(&mut self, name: &[u8]) {
        if self.item_kind != Some(ItemKind::Unseen) {
            self.item_kind = ItemKind::of_type(name);
            if self.item_kind.is_none() {
                self.signs.saw_type(name);
            }
        }
    }

    /// Notes a thread's id. The first stays, if there are several: it may have been told before the
    /// others came.
    fn thread(&mut self) {
        if self.thread_id.is_none() {
            self.thread_id = self.text();
        }
    }

    fn end_number(&mut self) {
        if self.capturing.take().is_none() {
            return;
        }
        match self.value_slot() {
            Slot::ThreadId => self.thread(),
            Slot::ItemId => self.item_id = self.text(),
            Slot::AllowRetry
            | Slot::Code
            | Slot::Content
            | Slot::Error
            | Slot::Item
            | Slot::ItemType
            | Slot::Message
            | Slot::None
            | Slot::PartType
            | Slot::Role
            | Slot::Thread
            | Slot::Title
            | Slot::Type => {}
        }
    }

    fn key_slot(&self) -> Slot {
        let key = self.name();
        match (self.level, self.slots) {
            (Some(0), _) => match &*key {
                b"type" => Slot::Type,
                b"thread" => Slot::Thread,
                b"item" => Slot::Item,
                b"error" => Slot::Error,
                key => Self::error_slot(key),
            },
            (Some(2), _) => match &*key {
                b"type" => Slot::PartType,
                _ => Slot::None,
            },
            (Some(_), [Slot::Error, ..]) => Self::error_slot(&key),
            (Some(_), [Slot::Thread, ..]) => match &*key {
                b"id" => Slot::ThreadId,
                b"title" => Slot::Title,
                _ => Slot::None,
            },
            (Some(_), [Slot::Item, ..]) => match &*key {
                b"content" => Slot::Content,
                b"id" => Slot::ItemId,
                b"role" => Slot::Role,
                b"type" => Slot::ItemType,
                _ => Slot::None,
            },
            _ => Slot::None,
        }
    }

    /// Gives the slot of what an error says of itself, in its event or in an object there.
    fn error_slot(key: &[u8]) -> Slot {
        match key {
            b"code" => Slot::Code,
            b"message" => Slot::Message,
            b"allow_retry" | b"allowRetry" => Slot::AllowRetry,
            _ => Slot::None,
        }
    }

    /// Gives the captured key or name, unescaped; empty if it is not valid.
    fn name(&self) -> Cow<'_, [u8]> {
        if self.raw.contains(&b'\\') {
            Cow::Owned(self.text().unwrap_or_default().into_bytes())
        } else {
            Cow::Borrowed(&self.raw)
        }
    }

    /// Gives the same of a string whose end may be missing, within a character or between two.
    fn beginning(&mut self) -> Option<String> {
        if self.raw.len() < MAX_TITLE_BYTES {
            return self.text();
        }
        for _ in 0..MAX_CHAR_BYTES {
            if let Some(text) = self.text() {
                return Some(text);
            }
            self.raw.pop();
        }
        None
    }

    /// Gives the captured string, unescaped; `None` if it is not valid.
    fn text(&self) -> Option<String> {
        if !self.raw.contains(&b'\\') {
            return std::str::from_utf8(&self.raw).ok().map(str::to_owned);
        }
        let mut quoted = Vec::with_capacity(self.raw.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(&self.raw);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).ok()
    }
}

#[cfg(test)]
mod tests;
