//! What a ChatKit server says.

pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\n\
    content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// Without a length: one of these follows.
pub(crate) const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

pub(crate) const MESSAGE_START: &str = "data: {\"type\":\"thread.item.added\",\"item\":\
    {\"id\":\"msg_a\",\"thread_id\":\"thr_1\",\"created_at\":\"2026-11-21T03:00:01\",\
    \"type\":\"assistant_message\",\"content\":[]}}\n\n";

pub(crate) const MESSAGE_DELTA: &str = "data: {\"type\":\"thread.item.updated\",\
    \"item_id\":\"msg_a\",\"update\":{\"type\":\"assistant_message.content_part.text_delta\",\
    \"content_index\":0,\"delta\":\"Hällo 👋\"}}\n\n";

pub(crate) const MESSAGE_DONE: &str = "data: {\"type\":\"thread.item.done\",\"item\":\
    {\"id\":\"msg_a\",\"thread_id\":\"thr_1\",\"created_at\":\"2026-11-21T03:00:01\",\
    \"type\":\"assistant_message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hällo 👋\",\
    \"annotations\":[]}]}}\n\n";

pub(crate) fn created(thread_id: &str) -> String {
    data(&format!(
        "{{\"type\":\"thread.created\",\"thread\":{{\"id\":\"{thread_id}\",\"created_at\":\
         \"2026-11-21T03:00:00\",\"status\":{{\"type\":\"active\"}},\"metadata\":{{}},\
         \"items\":{{\"data\":[],\"has_more\":false}}}}}}"
    ))
}

pub(crate) fn user_done(item_id: &str) -> String {
    data(&format!(
        "{{\"type\":\"thread.item.done\",\"item\":{{\"id\":\"{item_id}\",\"thread_id\":\"thr_1\",\
         \"created_at\":\"2026-11-21T03:00:00\",\"type\":\"user_message\",\"content\":\
         [{{\"type\":\"input_text\",\"text\":\"hi\"}}],\"attachments\":[],\
         \"inference_options\":{{}}}}}}"
    ))
}

pub(crate) fn options() -> String {
    data("{\"type\":\"stream_options\",\"stream_options\":{\"allow_cancel\":true}}")
}

/// Gives what comes before a model is asked.
pub(crate) fn preamble(thread_id: &str) -> String {
    format!("{}{}{}", created(thread_id), user_done("msg_u"), options())
}

pub(crate) fn error_event(code: &str, message: Option<&str>, allow_retry: bool) -> String {
    let message = message.map(|text| format!("\"message\":\"{text}\",")).unwrap_or_default();
    data(&format!(
        "{{\"type\":\"error\",\"code\":\"{code}\",{message}\"allow_retry\":{allow_retry}}}"
    ))
}

pub(crate) fn data(json: &str) -> String {
    format!("data: {json}\n\n")
}

pub(crate) fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

pub(crate) fn last_chunk() -> &'static str {
    "0\r\n\r\n"
}

/// Gives a whole stream in one piece.
pub(crate) fn stream_answer(body: &str) -> Vec<u8> {
    [STREAM_HEAD.as_bytes(), &chunk(body), last_chunk().as_bytes()].concat()
}

pub(crate) fn json_answer(body: &str) -> Vec<u8> {
    format!("{JSON_HEAD}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
