//! Reading the few fields of a ChatKit event that the gateway needs, while its bytes pass.
//!
//! An incremental reader of one JSON object: it keeps where it is (depth, current key) and
//! copies only the handful of short strings it is looking for. It accepts any key order, any
//! split and any white space, needs no event to be whole (an event may be megabytes long), and
//! stops looking as soon as it knows what it needs. What is not valid JSON gives no fields;
//! judging the upstream's JSON is not its job.

use std::borrow::Cow;

use memchr::memchr2;

use super::event::{EventKind, ItemKind};

/// Of a key or a name, as it is written: the longest of interest has 20 bytes, or 120 if every
/// one of them is a `\u` escape.
const MAX_NAME_BYTES: usize = 120;
const MAX_ID_BYTES: usize = 512;
const MAX_TITLE_BYTES: usize = 4096;
const MAX_MESSAGE_BYTES: usize = 8192;

/// Where a string or literal of interest belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    AllowRetry,
    Code,
    Error,
    Item,
    ItemId,
    ItemType,
    Message,
    None,
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

/// Whether an event begins with its type, as a ChatKit server writes it, and is nothing but
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

/// What was replaced, and what is about no item, matters while it may belong to the preamble.
fn kind(name: &[u8], after_output: bool) -> EventKind {
    match EventKind::parse(name) {
        EventKind::ItemReplaced | EventKind::Aside if after_output => EventKind::Other,
        kind => kind,
    }
}

/// Whether a byte may belong to a JSON number.
fn is_numeric(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// What is known of the current event.
#[derive(Debug)]
pub(crate) struct Fields {
    lex: Lex,
    depth: u32,
    /// The containers at depth 1 and 2 are objects.
    objects: [bool; 2],
    /// The next string at this depth (1 or 2) is a key.
    expect_key: bool,
    /// The string being read is a key.
    in_key: bool,
    /// The keys on the way: at depth 1 and at depth 2.
    slots: [Slot; 2],
    /// Where the string being read goes, and how long it may get.
    capturing: Option<usize>,
    raw: Vec<u8>,
    /// Output has passed.
    pub(crate) after_output: bool,

    pub(crate) kind: Option<EventKind>,
    pub(crate) item_kind: Option<ItemKind>,
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
            objects: [false; 2],
            expect_key: false,
            in_key: false,
            slots: [Slot::None; 2],
            capturing: None,
            raw: Vec::new(),
            after_output: false,
            kind: None,
            item_kind: None,
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

    /// Whether nothing of the event has been read.
    fn is_fresh(&self) -> bool {
        self.depth == 0 && self.kind.is_none() && self.lex == Lex::Between
    }

    /// Whether the event, which has ended, is no object with a type: nothing, or the `[DONE]` of
    /// hand-made servers. One that was broken off in the middle could have been anything.
    pub(crate) fn says_nothing(&self) -> bool {
        self.kind.is_none() && self.depth == 0
    }

    /// Whether nothing that may follow matters.
    fn is_complete(&self) -> bool {
        match self.kind {
            None => false,
            Some(EventKind::ItemDone) => self.item_kind.is_some() && self.item_id.is_some(),
            Some(EventKind::ItemReplaced) => self.item_kind.is_some(),
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
                if let Some(level) = self.level() {
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
                self.expect_key = false;
            }
            b',' => self.expect_key = self.in_object(),
            b':' => self.expect_key = false,
            b't' | b'f' if self.value_slot() == Slot::AllowRetry => {
                self.allow_retry.get_or_insert(byte == b't');
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

    /// The index of the current container, if it is one whose keys are read.
    fn level(&self) -> Option<usize> {
        match self.depth {
            1 => Some(0),
            2 if matches!(self.slots, [Slot::Thread | Slot::Item | Slot::Error, _]) => Some(1),
            _ => None,
        }
    }

    fn in_object(&self) -> bool {
        self.level().and_then(|level| self.objects.get(level)).copied().unwrap_or(false)
    }

    /// The slot of the value that comes next.
    fn value_slot(&self) -> Slot {
        if !self.in_object() {
            return Slot::None;
        }
        self.level().and_then(|level| self.slots.get(level)).copied().unwrap_or(Slot::None)
    }

    fn begin_string(&mut self) {
        self.raw.clear();
        self.in_key = self.expect_key && self.in_object();
        self.capturing = if self.in_key {
            Some(MAX_NAME_BYTES)
        } else {
            match self.value_slot() {
                Slot::Type | Slot::ItemType | Slot::Code => Some(MAX_NAME_BYTES),
                Slot::ThreadId | Slot::ItemId => Some(MAX_ID_BYTES),
                Slot::Title => Some(MAX_TITLE_BYTES),
                Slot::Message => Some(MAX_MESSAGE_BYTES),
                Slot::AllowRetry | Slot::Error | Slot::Item | Slot::None | Slot::Thread => None,
            }
        };
    }

    fn capture(&mut self, bytes: &[u8]) {
        if let Some(limit) = self.capturing {
            if self.raw.len() + bytes.len() > limit {
                self.capturing = None;
            } else {
                self.raw.extend_from_slice(bytes);
            }
        }
    }

    fn end_string(&mut self) {
        let captured = self.capturing.take().is_some();
        if self.in_key {
            self.in_key = false;
            self.expect_key = false;
            let slot = if captured { self.key_slot() } else { Slot::None };
            if let Some(place) = self.level().and_then(|level| self.slots.get_mut(level)) {
                *place = slot;
            }
            return;
        }
        if !captured {
            return;
        }
        match self.value_slot() {
            Slot::Type => self.kind = Some(kind(&self.name(), self.after_output)),
            Slot::ItemType => self.item_kind = Some(ItemKind::parse(&self.name())),
            Slot::ItemId => self.item_id = self.text(),
            Slot::ThreadId => self.thread_id = self.text(),
            Slot::Title => self.title = self.text(),
            Slot::Code => self.code = self.text(),
            Slot::Message => self.message = self.text(),
            Slot::AllowRetry | Slot::Error | Slot::Item | Slot::None | Slot::Thread => {}
        }
    }

    fn end_number(&mut self) {
        if self.capturing.take().is_none() {
            return;
        }
        match self.value_slot() {
            Slot::ThreadId => self.thread_id = self.text(),
            Slot::ItemId => self.item_id = self.text(),
            Slot::AllowRetry
            | Slot::Code
            | Slot::Error
            | Slot::Item
            | Slot::ItemType
            | Slot::Message
            | Slot::None
            | Slot::Thread
            | Slot::Title
            | Slot::Type => {}
        }
    }

    fn key_slot(&self) -> Slot {
        let key = self.name();
        match (self.level(), self.slots) {
            (Some(0), _) => match &*key {
                b"type" => Slot::Type,
                b"thread" => Slot::Thread,
                b"item" => Slot::Item,
                b"error" => Slot::Error,
                key => Self::error_slot(key),
            },
            (Some(_), [Slot::Error, _]) => Self::error_slot(&key),
            (Some(_), [Slot::Thread, _]) => match &*key {
                b"id" => Slot::ThreadId,
                b"title" => Slot::Title,
                _ => Slot::None,
            },
            (Some(_), [Slot::Item, _]) => match &*key {
                b"id" => Slot::ItemId,
                b"type" => Slot::ItemType,
                _ => Slot::None,
            },
            _ => Slot::None,
        }
    }

    /// What an error says of itself, in its event or in an object there.
    fn error_slot(key: &[u8]) -> Slot {
        match key {
            b"code" => Slot::Code,
            b"message" => Slot::Message,
            b"allow_retry" | b"allowRetry" => Slot::AllowRetry,
            _ => Slot::None,
        }
    }

    /// The captured key or name, unescaped; empty if it is not valid.
    fn name(&self) -> Cow<'_, [u8]> {
        if self.raw.contains(&b'\\') {
            Cow::Owned(self.text().unwrap_or_default().into_bytes())
        } else {
            Cow::Borrowed(&self.raw)
        }
    }

    /// The captured string, unescaped; `None` if it is not valid.
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
mod tests {
    use super::*;

    fn read(json: &str) -> (Fields, bool) {
        let mut fields = Fields::new();
        let more = fields.feed(json.as_bytes());
        // Byte by byte gives the same.
        let mut single = Fields::new();
        let mut single_more = true;
        for byte in json.as_bytes() {
            single_more = single_more && single.feed(&[*byte]);
        }
        assert_eq!(more, single_more);
        assert_eq!(fields.kind, single.kind);
        assert_eq!(fields.thread_id, single.thread_id);
        assert_eq!(fields.item_id, single.item_id);
        assert_eq!(fields.message, single.message);
        (fields, more)
    }

    #[test]
    fn the_preamble_is_read_in_any_key_order() {
        for json in [
            r#"{"type":"thread.created","thread":{"id":"thr_1","created_at":"x","items":{"data":[],"id":"no"},"title":"A \"t\""}}"#,
            r#" { "thread" : { "items":{"data":[{"id":"no"}]}, "title":"A \"t\"", "id" : "thr_1" } , "type" : "thread.created" } "#,
            r#"{"\u0074ype":"thread.created","thread":{"id":"thr_1","title":"A \u0022t\u0022"},"id":"no"}"#,
        ] {
            let (fields, _) = read(json);
            assert_eq!(fields.kind, Some(EventKind::ThreadCreated), "{json}");
            assert_eq!(fields.thread_id.as_deref(), Some("thr_1"), "{json}");
            assert_eq!(fields.title.as_deref(), Some("A \"t\""), "{json}");
        }
    }

    #[test]
    fn an_item_is_told_by_its_own_type_not_by_what_is_in_it() {
        let (fields, more) = read(
            r#"{"type":"thread.item.done","item":{"id":"msg_1","content":[{"type":"input_text","text":"{\"id\":1}"}],"type":"user_message"}}"#,
        );
        assert_eq!(fields.item_kind, Some(ItemKind::UserMessage));
        assert_eq!(fields.item_id.as_deref(), Some("msg_1"));
        assert!(!more);
        let (fields, _) = read(r#"{"type":"thread.item.done","item":[{"type":"user_message"}]}"#);
        assert_eq!(fields.item_kind, None);
    }

    #[test]
    fn a_delta_is_not_read_beyond_its_type() {
        let mut fields = Fields::new();
        assert!(!fields.feed(br#"{"type":"thread.item.updated","#));
        assert_eq!(fields.kind, Some(EventKind::Other));
    }

    #[test]
    fn an_error_is_read_whole() {
        let (fields, _) = read(
            r#"{"type":"error","code":"custom","message":"No \ud83d\ude00 left","allow_retry":false}"#,
        );
        assert_eq!(fields.code.as_deref(), Some("custom"));
        assert_eq!(fields.message.as_deref(), Some("No \u{1f600} left"));
        assert_eq!(fields.allow_retry, Some(false));
        let (fields, _) = read(r#"{"allow_retry" : true,"message":null,"type":"error"}"#);
        assert_eq!((fields.allow_retry, fields.message), (Some(true), None));
        for json in [
            r#"{"type":"error","error":{"code":"custom","x":[{"code":"no"}],"message":"No.","allow_retry":true}}"#,
            r#"{"error":{"allowRetry":true,"message":"No.","code":"custom"},"type":"error"}"#,
            r#"{"type":"error","code":"custom","message":"No.","allowRetry":true,"error":"x"}"#,
        ] {
            let (fields, _) = read(json);
            assert_eq!(fields.kind, Some(EventKind::Error), "{json}");
            assert_eq!(fields.code.as_deref(), Some("custom"), "{json}");
            assert_eq!(fields.message.as_deref(), Some("No."), "{json}");
            assert_eq!(fields.allow_retry, Some(true), "{json}");
        }
    }

    #[test]
    fn an_id_may_be_a_number() {
        for (json, id) in [
            (r#"{"type":"thread.created","thread":{"id":7}}"#, "7"),
            (
                r#"{"thread":{"title":null,"n":8,"id" : -12.5e3 ,"m":[9]},"type":"thread.created"}"#,
                "-12.5e3",
            ),
        ] {
            let (fields, _) = read(json);
            assert_eq!(fields.thread_id.as_deref(), Some(id), "{json}");
        }
        for json in [
            r#"{"type":"thread.item.done","item":{"type":"user_message","id":70,"x":1}}"#,
            r#"{"type":"thread.item.done","item":{"id":70,"x":1,"type":"user_message","y":2}}"#,
        ] {
            let (fields, more) = read(json);
            assert_eq!(fields.item_id.as_deref(), Some("70"));
            assert_eq!(fields.item_kind, Some(ItemKind::UserMessage));
            assert!(!more);
        }
        let long = format!(r#"{{"type":"thread.created","thread":{{"id":{}}}}}"#, "7".repeat(600));
        assert_eq!(read(&long).0.thread_id, None);
        for json in [
            r#"{"type":"thread.created","thread":{"id":null,"n":7}}"#,
            r#"{"type":"thread.created","thread":{"id":[7]}}"#,
            r#"{"type":"thread.created","thread":7,"id":7}"#,
        ] {
            assert_eq!(read(json).0.thread_id, None, "{json}");
        }
    }

    #[test]
    fn a_name_may_be_escaped_throughout() {
        use std::fmt::Write as _;
        let escaped = |name: &str| {
            name.bytes().fold(String::new(), |mut all, byte| {
                write!(all, "\\u{byte:04x}").unwrap();
                all
            })
        };
        for (name, kind) in [
            ("assistant_message", ItemKind::AssistantMessage),
            ("user_message", ItemKind::UserMessage),
            ("structured_input", ItemKind::StructuredInput),
        ] {
            for event in ["thread.item.done", "thread.item.replaced"] {
                let json = format!(
                    r#"{{"item":{{"{}":"{}"}},"type":"{}"}}"#,
                    escaped("type"),
                    escaped(name),
                    escaped(event)
                );
                let (fields, _) = read(&json);
                assert_eq!(fields.kind, Some(EventKind::parse(event.as_bytes())), "{json}");
                assert_eq!(fields.item_kind, Some(kind), "{json}");
            }
        }
    }

    #[test]
    fn what_is_too_long_or_broken_gives_no_field() {
        let long =
            format!(r#"{{"type":"thread.created","thread":{{"id":"{}"}}}}"#, "x".repeat(600));
        assert_eq!(read(&long).0.thread_id, None);
        for json in ["", "[DONE]", "{", r#"{"type"#, r#"{"type":7}"#, "}}]]", r#""type""#] {
            assert_eq!(read(json).0.kind, None, "{json}");
        }
    }
}
