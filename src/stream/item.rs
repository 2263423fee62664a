//! What an item is: one notion of it, for the bytes that pass and for what is read whole.
//!
//! A type that is ChatKit's decides. There are servers that name their types otherwise, or not at
//! all: there, whoever speaks in the item, or that it has content, makes it a message. What is
//! shown, counted and answered must not come apart over that.

/// The kind of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ItemKind {
    /// `assistant_message`, or a message of a server with types of its own that is not the user's.
    AssistantMessage,
    /// `client_tool_call`
    ClientToolCall,
    /// Any other.
    Other,
    /// `structured_input`
    StructuredInput,
    /// One of which clients see nothing: `end_of_turn`, and the hidden ones.
    Unseen,
    /// `user_message`, or the user's message of a server with types of its own.
    UserMessage,
}

impl ItemKind {
    /// Gives what a type says; `None` for one that isn't ChatKit's.
    pub(super) fn of_type(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"assistant_message" => Self::AssistantMessage,
            b"client_tool_call" => Self::ClientToolCall,
            b"structured_input" => Self::StructuredInput,
            b"user_message" => Self::UserMessage,
            b"generated_image" | b"task" | b"widget" | b"workflow" => Self::Other,
            b"end_of_turn" => Self::Unseen,
            name if says_hidden(name) => Self::Unseen,
            _ => return None,
        })
    }

    /// Tells whether it is what a user or the assistant says.
    #[cfg(feature = "operation")]
    pub(crate) fn is_message(self) -> bool {
        matches!(self, Self::AssistantMessage | Self::UserMessage)
    }
}

/// Tells whether items of a type are meant for no client to see: `hidden_context_item`,
/// `sdk_hidden_context`, and what else calls itself so, since one that is spelt in another way
/// would pass for a message. The SDK swallows their `done` events itself, but not every event about
/// them.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    ItemKind::of_type(name) == Some(ItemKind::Unseen) && says_hidden(name)
}

fn says_hidden(name: &[u8]) -> bool {
    const HIDDEN: &[u8] = b"hidden";
    name.windows(HIDDEN.len()).any(|part| part.eq_ignore_ascii_case(HIDDEN))
}

/// Who speaks to the model, and to no client.
const BEHIND: [&[u8]; 4] = [b"developer", b"function", b"system", b"tool"];

/// Who speaks in an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Assistant,
    /// Neither of the two: what is said is for no client.
    Behind,
    User,
}

/// A type that isn't ChatKit's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TypeName {
    /// It calls itself a message, or after the assistant.
    Message,
    /// There is none that can be read.
    #[default]
    None,
    Other,
    /// It calls itself the user's message.
    Users,
}

/// What tells an item whose type isn't known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    name: TypeName,
    role: Option<Speaker>,
    /// It has content of its own.
    pub(super) has_content: bool,
    /// A part of that is input.
    has_input: bool,
}

impl Signs {
    /// Notes a type, which isn't ChatKit's, or not all of it can be kept.
    pub(super) fn saw_type(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        let has = |part: &[u8]| name.windows(part.len()).any(|at| at == part);
        let is_behind = BEHIND.into_iter().any(has);
        self.name = if name.is_empty() {
            TypeName::None
        } else if name == b"user" || (name.starts_with(b"user") && has(b"message")) {
            TypeName::Users
        } else if !is_behind && (has(b"message") || name.starts_with(b"assistant")) {
            TypeName::Message
        } else {
            TypeName::Other
        };
    }

    pub(super) fn saw_role(&mut self, name: &[u8]) {
        self.role = Some(match &*name.to_ascii_lowercase() {
            b"assistant" => Speaker::Assistant,
            b"user" => Speaker::User,
            _ => Speaker::Behind,
        });
    }

    pub(super) fn saw_part(&mut self, name: &[u8]) {
        self.has_input |= name.starts_with(b"input_");
    }

    /// Gives its kind; `None` if nothing says what it is.
    pub(super) fn kind(self) -> Option<ItemKind> {
        match self.role {
            Some(Speaker::Assistant) => Some(ItemKind::AssistantMessage),
            Some(Speaker::User) => Some(ItemKind::UserMessage),
            Some(Speaker::Behind) => Some(ItemKind::Other),
            None if !self.has_content => (self.name != TypeName::None).then_some(ItemKind::Other),
            None => Some(match self.name {
                // Whatever it has to say, it is a thought, a source, a report, or of a later server:
                // to take it for the answer would show what nobody meant to say.
                TypeName::Other => ItemKind::Other,
                TypeName::Users => ItemKind::UserMessage,
                TypeName::Message | TypeName::None if self.has_input => ItemKind::UserMessage,
                TypeName::Message | TypeName::None => ItemKind::AssistantMessage,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::Fields;
    use super::super::object::Object;
    use super::*;

    #[test]
    fn an_item_is_the_same_as_it_passes_and_read_whole() {
        use ItemKind::{
            AssistantMessage, ClientToolCall, Other, StructuredInput, Unseen, UserMessage,
        };
        for (item, kind) in [
            // A type of ChatKit's decides.
            (r#"{"type":"assistant_message","role":"user"}"#, Some(AssistantMessage)),
            (r#"{"role":"assistant","content":"Hi","type":"user_message"}"#, Some(UserMessage)),
            (r#"{"type":"client_tool_call","content":"Hi"}"#, Some(ClientToolCall)),
            (r#"{"content":"Hi","type":"structured_input"}"#, Some(StructuredInput)),
            (r#"{"type":"widget","content":"Hi"}"#, Some(Other)),
            (r#"{"role":"assistant","type":"workflow"}"#, Some(Other)),
            (r#"{"type":"task","content":[{"type":"input_text"}]}"#, Some(Other)),
            (r#"{"type":"generated_image","role":"user"}"#, Some(Other)),
            (r#"{"type":"end_of_turn","content":"Hi"}"#, Some(Unseen)),
            (r#"{"content":"Hi","role":"user","type":"hidden_context_item"}"#, Some(Unseen)),
            (r#"{"type":"HiddenContextItem","content":"Hi"}"#, Some(Unseen)),
            (r#"{"type":"sdk_hidden_context ","role":"assistant"}"#, Some(Unseen)),
            // Any other says less than who speaks, and what there is.
            (r#"{"type":"message","role":"assistant"}"#, Some(AssistantMessage)),
            (r#"{"role":"user","content":null,"type":null}"#, Some(UserMessage)),
            (
                r#"{"type":3,"content":[{"type":"output_text","text":"Hi"}]}"#,
                Some(AssistantMessage),
            ),
            (r#"{"content":"Hi"}"#, Some(AssistantMessage)),
            (r#"{"content":7}"#, Some(AssistantMessage)),
            (r#"{"content":true,"x":1}"#, Some(AssistantMessage)),
            (r#"{"content":[],"type":["user_message"]}"#, Some(AssistantMessage)),
            (r#"{"content":[[{"type":"input_text"}]]}"#, Some(AssistantMessage)),
            (r#"{"content":["input_text",{"x":{"type":"input_text"}}]}"#, Some(AssistantMessage)),
            (r#"{"content":["a",{"x":[{}],"type":"input_text"}]}"#, Some(UserMessage)),
            (
                r#"{"content":{"x":{"type":"a"},"type":"input_text"},"y":{"type":"b"}}"#,
                Some(UserMessage),
            ),
            (r#"{"role":"assistant","content":[{"type":"input_text"}]}"#, Some(AssistantMessage)),
            (r#"{"type":"userMessage","content":"Hi"}"#, Some(UserMessage)),
            (r#"{"type":"USER_MESSAGE","content":"Hi"}"#, Some(UserMessage)),
            (r#"{"\u0074ype":"x","r\u006fle":"us\u0065r"}"#, Some(UserMessage)),
            // What is said to the model is said to nobody else.
            (r#"{"type":"message","role":"system","content":"Hi"}"#, Some(Other)),
            (r#"{"role":"tool","content":"Hi"}"#, Some(Other)),
            (r#"{"role":"System","content":"Hi"}"#, Some(Other)),
            (r#"{"role":"ASSISTANT","content":"Hi"}"#, Some(AssistantMessage)),
            (r#"{"role":"critic","content":"Hi"}"#, Some(Other)),
            (r#"{"role":"system","content":"Hi","role":null}"#, Some(Other)),
            (r#"{"type":"reasoning","content":"Hi"}"#, Some(Other)),
            (r#"{"type":"system_message","content":"Hi"}"#, Some(Other)),
            (r#"{"type":"ToolMessage","content":"Hi"}"#, Some(Other)),
            (r#"{"type":"user_report","content":"Hi"}"#, Some(Other)),
            (r#"{"type":"token_usage","content":{"prompt":3}}"#, Some(Other)),
            (r#"{"type":"assistantMessage","content":"Hi"}"#, Some(AssistantMessage)),
            (r#"{"type":"Message","content":"Hi"}"#, Some(AssistantMessage)),
            (r#"{"type":"message","content":[{"type":"input_text"}]}"#, Some(UserMessage)),
            (r#"{"type":"of a newer server"}"#, Some(Other)),
            (r#"{"type":"of a newer server","content":null,"x":{"role":"user"}}"#, Some(Other)),
            (r#"{"x":[{"content":"Hi","role":"user","type":"user_message"}]}"#, None),
            (r#"{"type":"","content":null}"#, None),
            (r#"{"type":{"type":"widget"},"role":7}"#, None),
            ("{}", None),
        ] {
            assert_eq!(Object::read(item).unwrap().item_kind(), kind, "{item}");
            for event in ["added", "done", "replaced"] {
                let event = format!("thread.item.{event}");
                for event in [
                    format!(r#"{{"type":"{event}","item":{item},"content":"x","role":"user"}}"#),
                    format!(
                        r#"{{"role":"user","content":[{{}}],"item": {item} ,"type":"{event}"}}"#
                    ),
                ] {
                    let mut fields = Fields::new();
                    fields.feed(event.as_bytes());
                    assert_eq!(fields.item(), kind, "{event}");
                    let mut fields = Fields::new();
                    let _ = event.as_bytes().iter().all(|byte| fields.feed(&[*byte]));
                    assert_eq!(fields.item(), kind, "{event}");
                }
            }
        }
    }

    #[test]
    fn an_item_whose_type_is_known_is_read_no_further() {
        for (event, is_read_on) in [
            (r#"{"type":"thread.item.done","item":{"id":"a","type":"widget""#, false),
            (r#"{"type":"thread.item.added","item":{"type":"end_of_turn""#, false),
            (r#"{"type":"thread.item.done","item":{"id":"a","type":"new","content":"#, true),
            (r#"{"type":"thread.item.removed""#, false),
        ] {
            assert_eq!(Fields::new().feed(event.as_bytes()), is_read_on, "{event}");
        }
        for event in ["added", "updated", "removed", "replaced"] {
            let mut fields = Fields::new();
            fields.after_output = true;
            assert!(!fields.feed(format!(r#"{{"type":"thread.item.{event}","#).as_bytes()));
        }
    }
}
