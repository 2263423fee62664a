//! How a responder makes what it emits. The models grow with the SDK's, so what is optional is set
//! afterwards.

use super::item::{
    AssistantMessage, Choice, GeneratedImage, HiddenContext, Image, OutputText, Question,
    QuestionKind, SdkHiddenContext, StructuredInput, StructuredInputStatus, TaskContent, ToolCall,
    ToolCallStatus, WidgetContent, WorkflowContent,
};
use super::json::Json;

impl AssistantMessage {
    /// Makes a message of these parts.
    pub fn new(content: Vec<OutputText>) -> Self {
        Self { content }
    }
}

impl OutputText {
    /// Makes a text without annotations.
    pub fn new(text: impl Into<String>) -> Self {
        let mut part = Self::default();
        part.text = text.into();
        part
    }

    /// Sets its sources, as ChatKit's `Annotation` objects.
    #[must_use]
    pub fn with_annotations(mut self, annotations: Vec<Json>) -> Self {
        self.annotations = annotations;
        self
    }
}

impl ToolCall {
    /// Makes a call that the client is to run.
    pub fn pending(call_id: impl Into<String>, name: impl Into<String>, arguments: Json) -> Self {
        let (call_id, name) = (call_id.into(), name.into());
        Self { status: ToolCallStatus::Pending, call_id, name, arguments, output: None }
    }
}

impl GeneratedImage {
    /// Makes one whose image is done. [`default`](Self::default) is one that is not.
    pub fn new(image: Image) -> Self {
        Self { image: Some(image) }
    }
}

impl Image {
    /// Makes the image at `url`, which may be a `data:` URL.
    pub fn new(id: impl Into<String>, url: impl Into<String>) -> Self {
        Self { id: id.into(), url: url.into() }
    }
}

impl HiddenContext {
    /// Makes context for the model.
    pub fn new(content: Json) -> Self {
        Self { content }
    }
}

impl SdkHiddenContext {
    /// Makes context that the server itself has written.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into() }
    }
}

impl StructuredInput {
    /// Makes questions that wait for the user.
    pub fn pending(inputs: Vec<Question>) -> Self {
        Self { status: StructuredInputStatus::Pending, inputs }
    }
}

impl Question {
    /// Asks for a text.
    pub fn freeform(id: impl Into<String>, question: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            question: question.into(),
            answer: None,
            kind: QuestionKind::Freeform,
            options: None,
            multiple: None,
            description: None,
        }
    }

    /// Asks for one of `options`, or for several if `multiple`.
    pub fn choice(
        id: impl Into<String>,
        question: impl Into<String>,
        options: Vec<Choice>,
        multiple: bool,
    ) -> Self {
        Self {
            kind: QuestionKind::MultipleChoice,
            options: Some(options),
            multiple: Some(multiple),
            ..Self::freeform(id, question)
        }
    }

    /// Sets what is said below the question.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }
}

impl Choice {
    /// Makes a choice of this value.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into() }
    }
}

impl TaskContent {
    /// Makes an item of a ChatKit `Task` object.
    pub fn new(task: Json) -> Self {
        Self { task }
    }
}

impl WidgetContent {
    /// Makes an item of a ChatKit widget's root.
    pub fn new(widget: Json) -> Self {
        Self { widget, copy_text: None }
    }

    /// Sets what is copied in its place.
    #[must_use]
    pub fn with_copy_text(self, copy_text: impl Into<String>) -> Self {
        Self { copy_text: Some(copy_text.into()), ..self }
    }
}

impl WorkflowContent {
    /// Makes an item of a ChatKit `Workflow` object.
    pub fn new(workflow: Json) -> Self {
        Self { workflow }
    }
}
