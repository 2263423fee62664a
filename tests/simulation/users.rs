//! Users, who have two hands each, and do with them whatever comes into their heads.

use std::sync::{Arc, MutexGuard};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::accounts::{Account, Known};
use crate::exchange::{Answer, Ask, Leaves};
use crate::script::Dice;
use crate::world::{MAX_MESSAGES, MAX_SESSIONS, PREFIX, World};

/// One of the hands of a user.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) world: Arc<World>,
    pub(crate) user: usize,
    pub(crate) dice: Dice,
}

impl Hand {
    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.world.accounts[self.user].lock().unwrap()
    }

    /// Does so many things, with pauses.
    pub(crate) async fn act(mut self, times: usize) {
        for _ in 0..times {
            let pause = self.dice.pause(2000);
            sleep(pause).await;
            match self.dice.below(20) {
                0..=2 => self.create().await,
                3..=7 => self.run_some().await,
                8..=9 => self.chat().await,
                10 => self.list().await,
                11..=12 => self.get_some().await,
                13 => self.rename_some().await,
                14..=15 => self.delete_some().await,
                16 => self.attach().await,
                17 => self.detach().await,
                18 => self.be_a_stranger().await,
                _ => self.be_a_client().await,
            }
        }
    }

    /// Asks some gateway, and may not wait for its answer.
    pub(crate) async fn ask(
        &mut self,
        method: &'static str,
        path: String,
        body: Option<Value>,
        expected: impl FnOnce() -> Vec<u16>,
    ) -> Answer {
        let token = self.world.token(self.user).to_owned();
        self.ask_as(&token, method, path, body, expected).await
    }

    pub(crate) async fn ask_as(
        &mut self,
        token: &str,
        method: &'static str,
        path: String,
        body: Option<Value>,
        expected: impl FnOnce() -> Vec<u16>,
    ) -> Answer {
        let may_leave = !self.world.weather.is_over();
        let leaves = self.dice.chance(self.world.weather.clients) && may_leave;
        let leaves = leaves.then(|| {
            if self.dice.chance(60) {
                Leaves::After(self.dice.pause(6000))
            } else {
                Leaves::With(self.dice.below(6))
            }
        });
        let gateway = self.dice.below(self.world.gateways.len());
        let ask = Ask { user: self.user, gateway, token, method, path, body, leaves };
        self.world.ask(ask, expected).await
    }

    /// Picks one of the sessions that the user was told of: mostly one that should be there.
    fn some_session(&mut self) -> Option<(usize, Known)> {
        let all: Vec<_> = self.account().sessions.iter().cloned().enumerate().collect();
        let there: Vec<_> = all.iter().filter(|(_, known)| !known.is_deleted).cloned().collect();
        let from = if there.is_empty() || self.dice.chance(10) { &all } else { &there };
        self.dice.pick(from).cloned()
    }

    pub(crate) async fn create(&mut self) {
        let (title, before) = {
            let account = &mut *self.account();
            account.asked += 1;
            (account.words(self.user), (account.deleted, account.refused))
        };
        let (world, user) = (Arc::clone(&self.world), self.user);
        let path = format!("{PREFIX}/sessions");
        let expected = || of_new(&world, user, before);
        let answer = self.ask("POST", path, Some(json!({ "title": title })), expected).await;
        let account = &mut *self.account();
        if answer.is_done() {
            let id = answer.json()["data"]["id"].as_str().unwrap().to_owned();
            account.learn(&id, None, Some(title));
        } else if answer.status == 429 {
            account.refused += 1;
        } else {
            account.unanswered.push(title);
        }
    }

    async fn run_some(&mut self) {
        let Some((place, known)) = self.some_session() else { return self.create().await };
        self.run(place, &known).await;
    }

    /// Says something in a session, and gives the answer's status.
    pub(crate) async fn run(&mut self, place: usize, before: &Known) -> u16 {
        let words = self.begin_words(place);
        let attachments: Vec<_> = {
            let account = self.account();
            let own = account.attachments.iter().filter(|file| !file.may_be_deleted);
            own.map(|file| file.id.clone()).collect()
        };
        let attachment = if self.dice.chance(20) { self.dice.pick(&attachments) } else { None };
        let message = json!({
            "role": "user", "content": [{ "type": "input_text", "text": words }],
            "attachments": attachment.into_iter().collect::<Vec<_>>(),
        });
        let body = json!({ "message": message, "stream": self.dice.chance(70) });
        let path = format!("{PREFIX}/sessions/{0}/threads/{0}/runs", before.id);
        let world = Arc::clone(&self.world);
        let (user, before) = (self.user, before.clone());
        // It may have been deleted since it was picked.
        let may_lack_file = attachment.is_some();
        let expected = || of_run(&world, user, place, &before, may_lack_file);
        let answer = self.ask("POST", path, Some(body), expected).await;
        self.end_words(place, &words, &answer);
        answer.status
    }

    fn begin_words(&self, place: usize) -> String {
        let account = &mut *self.account();
        let words = account.words(self.user);
        account.sessions[place].said.push((words.clone(), false));
        words
    }

    fn end_words(&self, place: usize, words: &str, answer: &Answer) {
        let is_whole = answer.is_done() && !answer.was_upstream();
        if is_whole && !String::from_utf8_lossy(&answer.body).contains(words) {
            self.world.trace.broken(&format!("{words} was not answered"));
        }
        let said = &mut self.account().sessions[place].said;
        let kept = said.iter_mut().find(|(said, _)| *said == words);
        kept.unwrap().1 = is_whole;
    }

    async fn chat(&mut self) {
        let known = self.some_session().filter(|(_, known)| known.conversation.is_some());
        match known {
            Some((place, known)) if self.dice.chance(60) => self.go_on(place, known).await,
            Some(_) | None => self.begin_chat().await,
        }
    }

    async fn go_on(&mut self, place: usize, before: Known) {
        let words = self.begin_words(place);
        let body = json!({ "message": words, "conversation_id": before.conversation });
        let (world, user) = (Arc::clone(&self.world), self.user);
        let expected = || of_run(&world, user, place, &before, false);
        let answer = self.ask("POST", "/api/chat".to_owned(), Some(body), expected).await;
        self.end_words(place, &words, &answer);
    }

    async fn begin_chat(&mut self) {
        let (words, before) = {
            let account = &mut *self.account();
            account.asked += 1;
            (account.words(self.user), (account.deleted, account.refused))
        };
        let (world, user) = (Arc::clone(&self.world), self.user);
        let expected = || of_new(&world, user, before);
        let body = json!({ "message": words });
        let answer = self.ask("POST", "/api/chat".to_owned(), Some(body), expected).await;
        if answer.status == 429 {
            self.account().refused += 1;
        }
        let number = answer.json()["conversation_id"].as_u64();
        let (true, Some(number)) = (answer.is_done(), number) else {
            if answer.status != 429 {
                self.account().unanswered_chats += 1;
            }
            return;
        };
        let summaries = self.world.sessions(self.user).await;
        let conversation = summaries.iter().find(|summary| {
            summary.conversation.is_some_and(|id| id.to_string() == number.to_string())
        });
        let Some(summary) = conversation else {
            return self.world.trace.broken(&format!("there is no conversation {number}"));
        };
        let account = &mut *self.account();
        account.learn(&summary.id.to_string(), Some(number), None);
        account.sessions.last_mut().unwrap().said.push((words, true));
    }

    async fn list(&mut self) {
        let before = self.account().sessions.clone();
        let answer = self.ask("GET", format!("{PREFIX}/sessions"), None, || vec![200]).await;
        if !answer.is_done() {
            return;
        }
        let listed = answer.json()["data"].as_array().cloned().unwrap_or_default();
        let after = self.account().sessions.clone();
        for (place, now) in after.iter().enumerate() {
            let shown = listed.iter().find(|session| session["id"] == *now.id);
            let was = before.get(place);
            match shown {
                Some(_) if was.is_some_and(|was| was.is_deleted) => {
                    self.world.trace.broken(&format!("{} is listed, and was deleted", now.id));
                }
                None if was.is_some() && !now.may_be_deleted => {
                    self.world.trace.broken(&format!("{} is not listed", now.id));
                }
                Some(session) => self.is_called(was, now, &session["title"]),
                None => {}
            }
        }
    }

    fn is_called(&self, was: Option<&Known>, now: &Known, title: &Value) {
        let title = title.as_str();
        if !was.is_some_and(|was| was.may_be_called(title)) && !now.may_be_called(title) {
            self.world.trace.broken(&format!("{} is called {title:?}: {:?}", now.id, now.titles));
        }
    }

    async fn get_some(&mut self) {
        if let Some((place, before)) = self.some_session() {
            self.get(place, &before).await;
        }
    }

    /// Reads a session.
    pub(crate) async fn get(&mut self, place: usize, before: &Known) -> Answer {
        let path = format!("{PREFIX}/sessions/{}", before.id);
        let answer = {
            let (world, user) = (Arc::clone(&self.world), self.user);
            let expected = || of_session(&world, user, place, before);
            self.ask("GET", path, None, expected).await
        };
        if !answer.is_done() {
            return answer;
        }
        let data = &answer.json()["data"];
        let now = self.account().sessions[place].clone();
        self.is_called(Some(before), &now, &data["title"]);
        for message in data["messages"].as_array().into_iter().flatten() {
            let text = message["content"][0]["text"].as_str().unwrap_or_default();
            if !now.said.iter().any(|(said, _)| text.ends_with(&**said)) {
                self.world.trace.broken(&format!("{} has {text:?}, said elsewhere", now.id));
            }
        }
        answer
    }

    async fn rename_some(&mut self) {
        let Some((place, before)) = self.some_session() else { return };
        let (title, begun) = {
            let account = &mut *self.account();
            let title = account.words(self.user);
            let begun = account.sessions[place].begin_title(&title);
            (title, begun)
        };
        let path = format!("{PREFIX}/sessions/{}", before.id);
        let body = json!({ "title": title });
        let answer = {
            let (world, user) = (Arc::clone(&self.world), self.user);
            let expected = || of_session(&world, user, place, &before);
            self.ask("PATCH", path, Some(body), expected).await
        };
        self.account().sessions[place].end_title(&title, begun, answer.is_done());
    }

    async fn delete_some(&mut self) {
        if let Some((place, before)) = self.some_session() {
            self.delete(place, &before).await;
        }
    }

    pub(crate) async fn delete(&mut self, place: usize, before: &Known) -> u16 {
        self.account().sessions[place].may_be_deleted = true;
        let path = format!("{PREFIX}/sessions/{}", before.id);
        let was_deleted = before.is_deleted;
        let (world, user) = (Arc::clone(&self.world), self.user);
        let expected = move || match was_deleted {
            true => vec![404],
            // A first run may be in the way.
            false if world.accounts[user].lock().unwrap().sessions[place].said.is_empty() => {
                vec![200, 404]
            }
            false => vec![200, 404, 409],
        };
        let answer = self.ask("DELETE", path, None, expected).await;
        if answer.is_done() {
            let account = &mut *self.account();
            if !account.sessions[place].is_deleted {
                account.deleted += 1;
            }
            account.sessions[place].is_deleted = true;
        }
        answer.status
    }
}

/// Tells what may be answered where a session is asked for, if so many had been deleted, and refused.
fn of_new(world: &World, user: usize, (deleted, refused): (usize, usize)) -> Vec<u16> {
    let asked = world.accounts[user].lock().unwrap().asked;
    if asked - deleted - refused > MAX_SESSIONS { vec![200, 429] } else { vec![200] }
}

/// Tells what may be answered about a session.
fn of_session(world: &World, user: usize, place: usize, before: &Known) -> Vec<u16> {
    if before.is_deleted {
        return vec![404];
    }
    let known = &world.accounts[user].lock().unwrap().sessions[place];
    if known.may_be_deleted { vec![200, 404] } else { vec![200] }
}

/// Tells what may be answered where something is said in a session.
fn of_run(
    world: &World,
    user: usize,
    place: usize,
    before: &Known,
    may_lack_file: bool,
) -> Vec<u16> {
    if before.is_deleted {
        return vec![404];
    }
    let account = world.accounts[user].lock().unwrap();
    let known = &account.sessions[place];
    let mut expected = vec![200];
    if known.may_be_deleted || may_lack_file {
        expected.push(404);
    }
    // What is said at the same time may be the first, and each takes two places in the end.
    if known.said.len() > 1 || known.may_be_deleted {
        expected.push(409);
    }
    if (known.said.len() - 1) * 2 >= MAX_MESSAGES {
        expected.push(429);
    }
    expected
}
