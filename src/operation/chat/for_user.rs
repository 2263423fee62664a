//! The form of an operation whose path names the caller.

use std::future::Future;
use std::marker::PhantomData;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::{Exchange, Operation, Read, Reply, Row};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::Desk;

/// An operation that has such a form. Nothing but its row differs: that the path names the caller
/// is found out before the body is read.
pub(crate) trait NamesUser: Operation {
    /// The form's row.
    const ROW_FOR_USER: Row;
}

/// That form of `O`. Only its schemas, which are as `O`'s, are read by another name.
pub(crate) struct ForUser<O>(PhantomData<O>);

impl<O: NamesUser> Operation for ForUser<O> {
    const ROW: Row = O::ROW_FOR_USER;

    type Call = O::Call;
    type Grant = O::Grant;

    fn parse(read: &Read<'_>) -> Result<O::Call, Rejection> {
        O::parse(read)
    }

    fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &O::Call,
    ) -> impl Future<Output = Result<O::Grant, Rejection>> + Send {
        O::admit(desk, principal, call)
    }

    fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        grant: O::Grant,
        call: O::Call,
    ) -> impl Future<Output = Reply<R>> + Send {
        O::answer(exchange, grant, call)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validate::SOURCES;

    #[test]
    fn an_operation_and_its_form_for_a_user_have_the_same_schemas() {
        let schema = |name: &str| {
            let source = SOURCES.iter().find(|(known, _)| *known == name).unwrap().1;
            let mut schema: Value = serde_json::from_str(source).unwrap();
            for member in ["$id", "title", "description"] {
                schema.as_object_mut().unwrap().remove(member).unwrap();
            }
            schema
        };
        for (operation, kinds) in [
            ("chat", ["request", "reply"]),
            ("list_conversations", ["query", "reply"]),
            ("get_conversation", ["query", "reply"]),
        ] {
            for kind in kinds {
                let of_user = format!("{operation}_for_user.{kind}");
                assert_eq!(schema(&format!("{operation}.{kind}")), schema(&of_user));
            }
        }
        assert_eq!(schema("chat.request")["additionalProperties"], json!(false));
    }
}
