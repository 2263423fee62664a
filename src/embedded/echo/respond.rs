//! The responder.

use std::time::Duration;

use super::super::event::{Event, Level, Update};
use super::super::id::new_id;
use super::super::item::{
    Content, EndOfTurn, GeneratedImage, HiddenContext, Item, TaskContent, ToolCall, ToolCallStatus,
    UserMessage, WorkflowContent,
};
use super::super::json::Json;
use super::super::request::Action;
use super::super::responder::{Failure, Responder, Turn, TurnFuture};
use super::super::thread::Status;
use super::command::EchoCommand;
use super::scenes;
use crate::bounds;

/// The longest title that is made of a message, in scalar values.
const TITLE_CHARS: usize = 60;

/// Repeats what it is told. See the [module's documentation](super) for its commands.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Echo {}

impl Echo {
    /// Makes the one echo there is.
    pub fn new() -> Self {
        Self {}
    }
}

impl Responder for Echo {
    fn respond(&self, turn: Turn) -> TurnFuture {
        Box::pin(async move {
            match turn.message().map(UserMessage::text) {
                Some(text) => answer(turn, &text).await,
                None => acknowledge(turn).await,
            }
        })
    }

    fn act(&self, mut turn: Turn, action: Action, sender: Option<Item>) -> TurnFuture {
        Box::pin(async move {
            match sender {
                _ if action.kind == "fail" => Err(Failure::Error { allow_retry: true }),
                Some(item) => {
                    let item = item.with_content(scenes::widget(scenes::presses(&action.payload)));
                    turn.emit(Event::ItemReplaced { item }).await;
                    Ok(())
                }
                None => {
                    let text = format!("Action {} with {}.", action.kind, action.payload);
                    say(&mut turn, &text).await;
                    Ok(())
                }
            }
        })
    }

    fn act_at_once(&self, action: &Action, sender: Option<Item>) -> Option<Option<Item>> {
        if action.kind == "fail" {
            return None;
        }
        let pressed = scenes::widget(scenes::presses(&action.payload));
        Some(sender.map(|item| item.with_content(pressed)))
    }
}

async fn answer(mut turn: Turn, text: &str) -> Result<(), Failure> {
    let command = EchoCommand::parse(text);
    match command {
        EchoCommand::Custom(message) => {
            return Err(Failure::Custom { message: message.to_owned(), allow_retry: false });
        }
        EchoCommand::Cut => return Err(Failure::Cut),
        EchoCommand::Error => return Err(Failure::Error { allow_retry: true }),
        EchoCommand::Stall => std::future::pending().await,
        _ => {}
    }

    if turn.title().is_none()
        && let Some(title) = title(text)
    {
        turn.set_title(title);
    }
    match command {
        EchoCommand::Annotations => annotations(&mut turn).await,
        EchoCommand::Close => {
            say(&mut turn, "Goodbye.").await;
            turn.set_status(Status::Closed { reason: None });
        }
        EchoCommand::CutAfter(deltas) => {
            tokens(&mut turn, deltas, false).await;
            return Err(Failure::Cut);
        }
        EchoCommand::Effect => {
            let (name, data) = ("highlight".to_owned(), scenes::effect());
            turn.emit(Event::ClientEffect { name, data }).await;
            let (name, data) = ("bare".to_owned(), Json::Object(Vec::new()));
            turn.emit(Event::ClientEffect { name, data }).await;
        }
        EchoCommand::ErrorAfter(deltas) => {
            tokens(&mut turn, deltas, false).await;
            return Err(Failure::Error { allow_retry: true });
        }
        EchoCommand::Hidden => {
            let content = Json::from([("for", "the model".into())]);
            turn.emit_item(Content::HiddenContextItem(HiddenContext { content })).await;
            say(&mut turn, "There is an item that you can't see.").await;
        }
        EchoCommand::Image => image(&mut turn).await,
        EchoCommand::Long(deltas) => tokens(&mut turn, deltas, true).await,
        EchoCommand::Notice => notices(&mut turn).await,
        EchoCommand::Progress => progress(&mut turn).await,
        EchoCommand::Slow(delay) => {
            say_slowly(&mut turn, &echo(text), delay).await;
        }
        EchoCommand::Structured => turn.emit_item(scenes::questions()).await,
        EchoCommand::Task => {
            turn.emit_item(Content::Task(TaskContent { task: scenes::task() })).await;
            turn.emit_item(Content::EndOfTurn(EndOfTurn {})).await;
        }
        EchoCommand::Tool { name, arguments } => tool(&mut turn, name, arguments).await?,
        EchoCommand::Unicode => say(&mut turn, scenes::UNICODE).await,
        EchoCommand::Widget => turn.emit_item(scenes::widget(0)).await,
        EchoCommand::Workflow => workflow(&mut turn).await,
        EchoCommand::Custom(_)
        | EchoCommand::Cut
        | EchoCommand::Error
        | EchoCommand::Say
        | EchoCommand::Stall => {
            say(&mut turn, &echo(text)).await;
        }
    }
    Ok(())
}

/// Answers after a tool's output or a structured input.
async fn acknowledge(mut turn: Turn) -> Result<(), Failure> {
    let text = match turn.items().last().map(Item::content) {
        Some(Content::ClientToolCall(call)) => match &call.output {
            Some(output) => format!("{} answered: {output}", call.name),
            None => format!("{} answered nothing.", call.name),
        },
        Some(Content::StructuredInput(input)) => {
            let answered = |question: &&super::super::item::Question| {
                question.answer.as_ref().is_some_and(|answer| !answer.skipped)
            };
            let answers = input.inputs.iter().filter(answered).count();
            format!("Answered {answers} of {} questions.", input.inputs.len())
        }
        _ => "There is nothing to answer.".to_owned(),
    };
    say(&mut turn, &text).await;
    Ok(())
}

fn echo(text: &str) -> String {
    if text.is_empty() { "You said nothing.".to_owned() } else { format!("You said: {text}") }
}

fn title(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?;
    Some(bounds::cut(line, TITLE_CHARS).trim_end().to_owned()).filter(|title| !title.is_empty())
}

async fn say(turn: &mut Turn, text: &str) {
    let delay = turn.token_delay();
    say_slowly(turn, text, delay).await;
}

async fn say_slowly(turn: &mut Turn, text: &str, delay: Duration) {
    let mut message = turn.begin_message().await;
    for (index, token) in text.split_inclusive(char::is_whitespace).enumerate() {
        wait(if index == 0 { Duration::ZERO } else { delay }).await;
        message.say(token).await;
    }
    message.end().await;
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

async fn tokens(turn: &mut Turn, deltas: usize, to_the_end: bool) {
    let delay = turn.token_delay();
    let mut message = turn.begin_message().await;
    for index in 0..deltas {
        wait(if index == 0 { Duration::ZERO } else { delay }).await;
        message.say(format!("token{index} ")).await;
    }
    if to_the_end {
        message.end().await;
    }
}

async fn annotations(turn: &mut Turn) {
    let mut message = turn.begin_message().await;
    message.say("See ").await;
    message.say("sources.").await;
    for annotation in scenes::annotations() {
        message.annotate(annotation).await;
    }
    message.end().await;
}

async fn image(turn: &mut Turn) {
    let item = turn.new_item(Content::GeneratedImage(GeneratedImage::default()));
    turn.emit(Event::ItemAdded { item: item.clone() }).await;
    let image = scenes::image(&new_id("ig"));
    for progress in [Some(0.0), Some(0.5), None] {
        let update = Update::ImageUpdated { image: image.clone(), progress };
        turn.emit(Event::ItemUpdated { item_id: item.id().to_owned(), update }).await;
    }
    let content = Content::GeneratedImage(GeneratedImage { image: Some(image) });
    turn.emit(Event::ItemDone { item: item.with_content(content) }).await;
}

async fn notices(turn: &mut Turn) {
    turn.emit(Event::Notice {
        level: Level::Warning,
        message: "**Careful**".into(),
        title: Some("Heads up".into()),
    })
    .await;
    let message = "Never mind.".to_owned();
    turn.emit(Event::Notice { level: Level::Info, message, title: None }).await;
}

async fn progress(turn: &mut Turn) {
    let icon = Some("search".to_owned());
    turn.emit(Event::Progress { icon, text: "Looking".into() }).await;
    turn.emit(Event::Progress { icon: None, text: "Still looking".into() }).await;
    say(turn, "Found.").await;
}

async fn tool(turn: &mut Turn, name: &str, arguments: &str) -> Result<(), Failure> {
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    let arguments = Json::parse(arguments).ok().filter(Json::is_object);
    let Some(arguments) = arguments else {
        let message = "The arguments of /tool must be a JSON object.".to_owned();
        return Err(Failure::Custom { message, allow_retry: false });
    };
    turn.emit_item(Content::ClientToolCall(ToolCall {
        status: ToolCallStatus::Pending,
        call_id: new_id("call"),
        name: name.to_owned(),
        arguments,
        output: None,
    }))
    .await;
    Ok(())
}

async fn workflow(turn: &mut Turn) {
    let content = |tasks, done| {
        Content::Workflow(WorkflowContent { workflow: scenes::workflow(tasks, done) })
    };
    let item = turn.new_item(content(Vec::new(), false));
    let item_id = || item.id().to_owned();
    turn.emit(Event::ItemAdded { item: item.clone() }).await;

    let mut tasks = vec![scenes::thought("loading", "Thinking")];
    tasks.extend(scenes::other_tasks());
    for (task_index, task) in tasks.iter().cloned().enumerate() {
        let update = Update::TaskAdded { task_index, task };
        turn.emit(Event::ItemUpdated { item_id: item_id(), update }).await;
    }
    let thought = scenes::thought("complete", "Thought");
    let update = Update::TaskUpdated { task_index: 0, task: thought.clone() };
    turn.emit(Event::ItemUpdated { item_id: item_id(), update }).await;
    if let Some(first) = tasks.first_mut() {
        *first = thought;
    }
    turn.emit(Event::ItemDone { item: item.with_content(content(tasks, true)) }).await;
    say(turn, "Workflow finished.").await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_bounded_and_its_beginning() {
        let heap = "e".to_owned() + &"\u{301}".repeat(500);
        assert_eq!(title(&heap).unwrap().chars().count(), TITLE_CHARS);
        assert_eq!(title("  short \nsecond line"), Some("short".to_owned()));
        assert_eq!(title(&"x".repeat(61)).unwrap().len(), TITLE_CHARS);
        assert_eq!(title(" \n "), None);
    }
}
