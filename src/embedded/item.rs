//! Items of a thread, in the field order of the SDK's models.

use serde::{Deserialize, Serialize};

use super::json::Json;
use super::timestamp::NaiveTimestamp;

/// One entry of a thread's transcript.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub(super) id: String,
    pub(super) thread_id: String,
    pub(super) created_at: NaiveTimestamp,
    #[serde(flatten)]
    pub(super) content: Content,
}

/// What kind of item it is, and what it holds. A [`Turn`](super::Turn) takes it from a responder:
///
/// ```
/// use chatkit_rest::embedded::{Choice, Content, Json, Question, StructuredInput, ToolCall};
///
/// let sizes = ["S", "M", "L"].map(Choice::new);
/// let size = Question::choice("size", "Which size?", sizes.into(), false);
/// let notes = Question::freeform("notes", "Notes?").with_description("Optional.");
/// let asked = Content::StructuredInput(StructuredInput::pending(vec![size, notes]));
/// assert_eq!(asked.kind(), "structured_input");
///
/// let place = Json::from([("place", "here".into())]);
/// let called = Content::ClientToolCall(ToolCall::pending("call_1", "weather", place));
/// assert_eq!(called.kind(), "client_tool_call");
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// What the assistant said.
    AssistantMessage(AssistantMessage),
    /// A call that the client is to run, or has run.
    ClientToolCall(ToolCall),
    /// The end of the assistant's turn.
    EndOfTurn(EndOfTurn),
    /// An image.
    GeneratedImage(GeneratedImage),
    /// Context for the model that no client ever sees.
    HiddenContextItem(HiddenContext),
    /// The same, written by the server itself.
    SdkHiddenContext(SdkHiddenContext),
    /// Questions for the user.
    StructuredInput(StructuredInput),
    /// A task of its own.
    Task(TaskContent),
    /// What the user said.
    UserMessage(UserMessage),
    /// A widget.
    Widget(WidgetContent),
    /// A list of tasks.
    Workflow(WorkflowContent),
}

/// `assistant_message`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AssistantMessage {
    /// Its parts; empty while nothing was said.
    pub content: Vec<OutputText>,
}

/// A part of an assistant message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputText {
    /// Sources, as ChatKit's `Annotation` objects.
    pub annotations: Vec<Json>,
    /// The text.
    pub text: String,
    #[serde(rename = "type")]
    kind: OutputTextTag,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum OutputTextTag {
    #[default]
    #[serde(rename = "output_text")]
    OutputText,
}

/// `client_tool_call`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// Whether the client has answered.
    pub status: ToolCallStatus,
    /// The model's id of the call.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// An object.
    pub arguments: Json,
    /// The client's answer; absent if it was `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

/// Whether the client has answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolCallStatus {
    /// It has answered.
    Completed,
    /// It has not.
    Pending,
}

/// `end_of_turn`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndOfTurn {}

/// `generated_image`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeneratedImage {
    /// The image, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// An image.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Image {
    /// The image's id.
    pub id: String,
    /// Where it is; may be a `data:` URL.
    pub url: String,
}

/// `hidden_context_item`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HiddenContext {
    /// Anything.
    pub content: Json,
}

/// `sdk_hidden_context`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SdkHiddenContext {
    /// A text for the model.
    pub content: String,
}

/// `structured_input`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StructuredInput {
    /// Whether the user has answered.
    pub status: StructuredInputStatus,
    /// The questions.
    pub inputs: Vec<Question>,
}

/// Whether the user has answered a structured input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StructuredInputStatus {
    /// They have.
    Answered,
    /// They have not.
    Pending,
    /// They don't want to.
    Skipped,
}

/// A question of a structured input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Question {
    /// Different from the others of the same item.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// Absent while pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answers>,
    /// `multiple_choice` or `freeform`.
    #[serde(rename = "type")]
    pub kind: QuestionKind,
    /// What to choose from, for `multiple_choice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<Choice>>,
    /// Whether more than one may be chosen, for `multiple_choice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<bool>,
    /// A hint, for `freeform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuestionKind {
    /// With a text.
    Freeform,
    /// By choosing, or with a text.
    MultipleChoice,
}

/// One of the values to choose from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// The value.
    pub value: String,
}

/// A question's answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answers {
    /// The values chosen or written.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether there is no answer.
    #[serde(default)]
    pub skipped: bool,
}

/// `task`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskContent {
    /// ChatKit's `Task` object.
    pub task: Json,
}

/// `user_message`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserMessage {
    /// Its parts, `input_text` and `input_tag` objects.
    pub content: Vec<Json>,
    /// ChatKit's `Attachment` objects.
    pub attachments: Vec<Json>,
    /// What the user quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted_text: Option<String>,
    /// `tool_choice` and `model`, where the user chose.
    pub inference_options: Json,
}

impl UserMessage {
    /// Gives the texts of all parts, one after the other.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(|part| part.get("text")?.as_str()).collect()
    }
}

/// `widget`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WidgetContent {
    /// ChatKit's widget tree.
    pub widget: Json,
    /// What is copied in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_text: Option<String>,
}

/// `workflow`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkflowContent {
    /// ChatKit's `Workflow` object.
    pub workflow: Json,
}

impl Item {
    /// Gives the item's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Gives what it holds.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Makes the same item (id, thread and time) with something else in it.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }
}

impl Content {
    /// Gives the item's `type` on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AssistantMessage(_) => "assistant_message",
            Self::ClientToolCall(_) => "client_tool_call",
            Self::EndOfTurn(_) => "end_of_turn",
            Self::GeneratedImage(_) => "generated_image",
            Self::HiddenContextItem(_) => "hidden_context_item",
            Self::SdkHiddenContext(_) => "sdk_hidden_context",
            Self::StructuredInput(_) => "structured_input",
            Self::Task(_) => "task",
            Self::UserMessage(_) => "user_message",
            Self::Widget(_) => "widget",
            Self::Workflow(_) => "workflow",
        }
    }

    /// Tells whether somebody said it: the user, or the assistant.
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Self::UserMessage(_) | Self::AssistantMessage(_))
    }

    /// Tells whether no client may see it.
    pub(super) fn is_hidden(&self) -> bool {
        is_hidden(self.kind())
    }

    /// Reads the content back from the item's JSON. `None` if it is not what [`Item`] wrote.
    pub(super) fn read(kind: &str, json: &str) -> Option<Self> {
        fn from<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
            serde_json::from_str(json).ok()
        }
        Some(match kind {
            "assistant_message" => Self::AssistantMessage(from(json)?),
            "client_tool_call" => Self::ClientToolCall(from(json)?),
            "end_of_turn" => Self::EndOfTurn(from(json)?),
            "generated_image" => Self::GeneratedImage(from(json)?),
            "hidden_context_item" => Self::HiddenContextItem(from(json)?),
            "sdk_hidden_context" => Self::SdkHiddenContext(from(json)?),
            "structured_input" => Self::StructuredInput(from(json)?),
            "task" => Self::Task(from(json)?),
            "user_message" => Self::UserMessage(from(json)?),
            "widget" => Self::Widget(from(json)?),
            "workflow" => Self::Workflow(from(json)?),
            _ => return None,
        })
    }
}

/// Tells whether items of that `type` are kept from clients.
pub(super) fn is_hidden(kind: &str) -> bool {
    matches!(kind, "hidden_context_item" | "sdk_hidden_context")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(content: Content) -> Item {
        Item {
            id: "msg_1".into(),
            thread_id: "thr_1".into(),
            created_at: NaiveTimestamp::from_micros(1_763_696_592_764_522),
            content,
        }
    }

    #[test]
    fn an_item_is_written_in_the_order_of_the_models_and_read_back() {
        let arguments = Json::parse(r#"{"z":1,"a":123456789012345678901234567890,"n":null}"#);
        let contents = [
            Content::AssistantMessage(AssistantMessage { content: vec![OutputText::new("hi")] }),
            Content::ClientToolCall(ToolCall {
                status: ToolCallStatus::Pending,
                call_id: "call_1".into(),
                name: "f".into(),
                arguments: arguments.unwrap(),
                output: None,
            }),
            Content::EndOfTurn(EndOfTurn {}),
            Content::GeneratedImage(GeneratedImage::default()),
            Content::HiddenContextItem(HiddenContext { content: Json::Null }),
            Content::SdkHiddenContext(SdkHiddenContext { content: "c".into() }),
            Content::Task(TaskContent { task: Json::from([("type", "custom".into())]) }),
        ];
        for content in contents {
            let kind = content.kind();
            let written = serde_json::to_string(&item(content)).unwrap();
            let head = format!(
                r#"{{"id":"msg_1","thread_id":"thr_1","created_at":"2025-11-21T03:43:12.764522","type":"{kind}""#
            );
            assert!(written.starts_with(&head), "{written}");
            let read = Content::read(kind, &written).unwrap();
            assert_eq!(serde_json::to_string(&item(read)).unwrap(), written);
        }
    }

    #[test]
    fn a_part_has_its_type_last() {
        let text = serde_json::to_string(&OutputText::new("é\u{2028}")).unwrap();
        assert_eq!(text, "{\"annotations\":[],\"text\":\"é\u{2028}\",\"type\":\"output_text\"}");
    }
}
