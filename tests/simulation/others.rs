//! What users do beside their sessions: files, pages that a service lets in, and what they had better not.

use std::sync::Arc;

use serde_json::json;

use crate::accounts::{Attachment, Client};
use crate::users::Hand;
use crate::world::{PREFIX, World};

impl Hand {
    pub(crate) async fn attach(&mut self) {
        let body = json!({ "name": "plan.txt", "size": 3, "mime_type": "text/plain" });
        let path = format!("{PREFIX}/attachments");
        let answer = self.ask("POST", path, Some(body), || vec![200]).await;
        if answer.is_done() {
            let id = answer.json()["data"]["id"].as_str().unwrap().to_owned();
            let attachment = Attachment { id, is_deleted: false, may_be_deleted: false };
            self.account().attachments.push(attachment);
        }
    }

    pub(crate) async fn detach(&mut self) {
        let places: Vec<_> = (0..self.account().attachments.len()).collect();
        let Some(&place) = self.dice.pick(&places) else { return self.attach().await };
        let before = {
            let attachment = &mut self.account().attachments[place];
            let before = attachment.clone();
            attachment.may_be_deleted = true;
            before
        };
        let path = format!("{PREFIX}/attachments/{}", before.id);
        // The other hand may be faster.
        let expected = || if before.is_deleted { vec![404] } else { vec![200, 404] };
        if self.ask("DELETE", path, None, expected).await.is_done() {
            self.account().attachments[place].is_deleted = true;
        }
    }

    /// Tries to do something with what is somebody else's.
    pub(crate) async fn be_a_stranger(&mut self) {
        let other = (self.user + 1 + self.dice.below(2)) % self.world.accounts.len();
        let (sessions, files) = {
            let account = self.world.accounts[other].lock().unwrap();
            let sessions: Vec<_> =
                account.sessions.iter().map(|it| (it.id.clone(), it.conversation)).collect();
            let files: Vec<_> = account.attachments.iter().map(|it| it.id.clone()).collect();
            (sessions, files)
        };
        let own: Vec<_> = self.account().sessions.iter().map(|it| it.id.clone()).collect();
        let threads: Vec<_> = {
            let server = self.world.upstream.kept.lock().unwrap();
            let name = crate::accounts::USERS[other];
            let of_other = server.threads.iter().filter(|(_, thread)| thread.owner == name);
            of_other.map(|(id, _)| id.clone()).collect()
        };
        let session = self.dice.pick(&sessions).cloned();
        let (file, thread) = (self.dice.pick(&files).cloned(), self.dice.pick(&threads).cloned());
        let own = self.dice.pick(&own).cloned();
        let words = self.account().words(self.user);
        let title = Some(json!({ "title": words }));
        let message = Some(json!({ "message": words }));
        let of_session = format!("{PREFIX}/sessions");
        let (method, path, body) = match (self.dice.below(8), session, file, thread, own) {
            (0, Some((id, _)), ..) => ("GET", format!("{of_session}/{id}"), None),
            (1, Some((id, _)), ..) => ("PATCH", format!("{of_session}/{id}"), title),
            (2, Some((id, _)), ..) => ("DELETE", format!("{of_session}/{id}"), None),
            (3, Some((id, _)), ..) => {
                ("POST", format!("{of_session}/{id}/threads/{id}/runs"), message)
            }
            (4, Some((_, Some(number))), ..) => {
                let body = json!({ "message": words, "conversation_id": number });
                ("POST", "/api/chat".to_owned(), Some(body))
            }
            (5, _, Some(file), ..) => ("DELETE", format!("{PREFIX}/attachments/{file}"), None),
            (6, _, _, Some(thread), Some(own)) => {
                ("GET", format!("{of_session}/{own}/threads/{thread}/items"), None)
            }
            (7, _, _, Some(thread), _) => {
                let params = json!({ "thread_id": thread });
                let body = json!({ "type": "threads.get_by_id", "params": params });
                ("POST", PREFIX.to_owned(), Some(body))
            }
            _ => return,
        };
        self.ask(method, path, body, || vec![403, 404]).await;
    }

    /// Has a service make, use or cancel a client session.
    pub(crate) async fn be_a_client(&mut self) {
        let places: Vec<_> = (0..self.account().clients.len()).collect();
        let known = self.dice.pick(&places).copied();
        match (known, self.dice.below(3)) {
            (Some(place), 0) => self.cancel(place).await,
            (Some(place), 1) => self.use_client(place).await,
            (Some(_) | None, _) => {
                let user = crate::accounts::USERS[self.user];
                let body = json!({ "user": user, "workflow": { "id": "w" } });
                let path = "/v1/chatkit/sessions".to_owned();
                let expected = || vec![200];
                let answer = self.ask_as(World::key(), "POST", path, Some(body), expected).await;
                if answer.is_done() {
                    let session = answer.json();
                    let text = |name: &str| session[name].as_str().unwrap().to_owned();
                    let (id, secret) = (text("id"), text("client_secret"));
                    let (is_cancelled, may_be_cancelled) = (false, false);
                    let client = Client { id, secret, is_cancelled, may_be_cancelled };
                    self.account().clients.push(client);
                }
            }
        }
    }

    async fn cancel(&mut self, place: usize) {
        let id = {
            let client = &mut self.account().clients[place];
            client.may_be_cancelled = true;
            client.id.clone()
        };
        let path = format!("/v1/chatkit/sessions/{id}/cancel");
        if self.ask_as(World::key(), "POST", path, None, || vec![200]).await.is_done() {
            self.account().clients[place].is_cancelled = true;
        }
    }

    /// Lists sessions by the secret of a page.
    pub(crate) async fn use_client(&mut self, place: usize) {
        let before = self.account().clients[place].clone();
        let (world, user) = (Arc::clone(&self.world), self.user);
        let expected = || {
            let client = &world.accounts[user].lock().unwrap().clients[place];
            match (before.is_cancelled, client.may_be_cancelled) {
                (true, _) => vec![401],
                (false, true) => vec![200, 401],
                (false, false) => vec![200],
            }
        };
        let path = format!("{PREFIX}/sessions");
        self.ask_as(&before.secret, "GET", path, None, expected).await;
    }
}
