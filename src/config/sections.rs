//! One function per section: what its settings mean.
//!
//! A section is read to its end before it is put together, so that every fault is found in one
//! go; it is `None` where one of its settings is at fault.

use std::num::{NonZeroU32, NonZeroUsize};

use super::meaning::{self, LogFormat, LogLevel};
use super::reader::SettingsReader;
use super::settings::{
    AdminConfig, AttachmentsConfig, ChatConfig, CorsConfig, LimitsConfig, LogConfig, OpenAiConfig,
    PassthroughConfig, RestConfig, ServerConfig, SessionConfig, StreamConfig, UpstreamConfig,
};
use super::tls;
use super::web::{self, AllowedOrigins, BasePath, Upstream};
use super::{address, headers, proof};
use crate::session::{ConversationIds, UnknownAttachments};
use crate::surface::InvalidStatus;
use crate::validate::UnknownRequests;

pub(super) fn server(read: &mut SettingsReader<'_>) -> Option<ServerConfig> {
    let public_url = read.meant("server.public_url", web::public_url, address::meant_public_url);
    let tls = tls::server(read);
    let header_timeout = read.duration("server.header_timeout");
    let body_timeout = read.duration("server.body_timeout");
    let idle_timeout = read.duration("server.idle_timeout");
    let write_timeout = read.duration("server.write_timeout");
    let drain_timeout = read.duration("server.drain_timeout");
    let max_connections = read.size("server.max_connections");
    let max_header_bytes = read.size("server.max_header_bytes");
    let worker_threads = read.limit("server.worker_threads");
    Some(ServerConfig {
        public_url: public_url?,
        tls: tls?.into_iter().next(),
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        idle_timeout: idle_timeout?,
        write_timeout: write_timeout?,
        drain_timeout: drain_timeout?,
        max_connections: max_connections?,
        max_header_bytes: max_header_bytes?,
        worker_threads: NonZeroU32::new(worker_threads?),
    })
}

pub(super) fn rest(read: &mut SettingsReader<'_>) -> Option<RestConfig> {
    Some(RestConfig { prefix: read.text("rest.prefix", BasePath::parse)? })
}

pub(super) fn upstream(read: &mut SettingsReader<'_>) -> Option<UpstreamConfig> {
    let url = read.meant("upstream.url", Upstream::parse, address::meant_upstream);
    let ca = tls::authorities(read, "upstream.ca");
    let client_certificate = tls::pair(read, "upstream.client_certificate", "upstream.client_key");
    let connect_timeout = read.duration("upstream.connect_timeout");
    let first_byte_timeout = read.duration("upstream.first_byte_timeout");
    let idle_timeout = read.duration("upstream.idle_timeout");
    let json_timeout = read.duration("upstream.json_timeout");
    let pool_idle_timeout = read.duration("upstream.pool_idle_timeout");
    let max_idle_connections = read.size("upstream.max_idle_connections");
    let max_concurrent = read.size("upstream.max_concurrent");
    let max_queued = read.size("upstream.max_queued");
    let queue_timeout = read.duration("upstream.queue_timeout");
    let breaker = read.boolean("upstream.breaker");
    let max_reply_bytes = read.size("upstream.max_reply_bytes");
    let user_header = read.text("upstream.user_header", web::user_header);
    let forward_authorization = read.boolean("upstream.forward_authorization");
    // Naming it beside the setting that is for it changes nothing.
    let authorization = forward_authorization == Some(true);
    let forward_headers =
        read.list("upstream.forward_headers", |names| web::forward_headers(names, authorization));
    let headers = headers::read(read);
    let proof = proof::read(read, url.as_ref());
    let forwarded = read.boolean("upstream.forwarded");
    let utc_offset = read.text("upstream.utc_offset", meaning::utc_offset);
    Some(UpstreamConfig {
        url: url?,
        ca: ca?.into_iter().next(),
        client_certificate: client_certificate?.into_iter().next(),
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        idle_timeout: idle_timeout?,
        json_timeout: json_timeout?,
        pool_idle_timeout: pool_idle_timeout?,
        max_idle_connections: max_idle_connections?,
        max_concurrent: NonZeroUsize::new(max_concurrent?),
        max_queued: max_queued?,
        queue_timeout: queue_timeout?,
        breaker: breaker?,
        max_reply_bytes: max_reply_bytes?,
        user_header: user_header?,
        forward_authorization: forward_authorization?,
        forward_headers: forward_headers?,
        headers: headers?,
        proof: proof?.into_iter().next(),
        forwarded: forwarded?,
        utc_offset: utc_offset?,
    })
}

pub(super) fn session(read: &mut SettingsReader<'_>) -> Option<SessionConfig> {
    Some(SessionConfig { hide_foreign: read.boolean("session.hide_foreign")? })
}

pub(super) fn attachments(read: &mut SettingsReader<'_>) -> Option<AttachmentsConfig> {
    let unknown =
        [("refuse", UnknownAttachments::Refuse), ("forward", UnknownAttachments::Forward)];
    Some(AttachmentsConfig { unknown: read.choice("attachments.unknown", &unknown)? })
}

pub(super) fn limits(read: &mut SettingsReader<'_>) -> Option<LimitsConfig> {
    let requests_per_minute = read.limit("limits.requests_per_minute");
    let shared = read.switch("limits.shared");
    let max_sessions = read.limit("limits.max_sessions");
    let max_messages = read.limit("limits.max_messages");
    let max_message_chars = read.size("limits.max_message_chars");
    let max_body_bytes = read.size("limits.max_body_bytes");
    let max_json_values = read.size("limits.max_json_values");
    let max_audio_bytes = read.size("limits.max_audio_bytes");
    let max_buffered_bytes = read.size("limits.max_buffered_bytes");
    let max_buffered_bytes_per_user = read.size("limits.max_buffered_bytes_per_user");
    let max_in_flight = read.size("limits.max_in_flight");
    let max_unauthenticated = read.size("limits.max_unauthenticated");
    let max_streams_per_user = read.size("limits.max_streams_per_user");
    let max_tracked_users = read.size("limits.max_tracked_users");
    Some(LimitsConfig {
        requests_per_minute: NonZeroU32::new(requests_per_minute?),
        shared: shared?,
        max_sessions: NonZeroU32::new(max_sessions?),
        max_messages: NonZeroU32::new(max_messages?),
        max_message_chars: max_message_chars?,
        max_body_bytes: max_body_bytes?,
        max_json_values: max_json_values?,
        max_audio_bytes: max_audio_bytes?,
        max_buffered_bytes: max_buffered_bytes?,
        max_buffered_bytes_per_user: max_buffered_bytes_per_user?,
        max_in_flight: max_in_flight?,
        max_unauthenticated: max_unauthenticated?,
        max_streams_per_user: max_streams_per_user?,
        max_tracked_users: max_tracked_users?,
    })
}

pub(super) fn stream(read: &mut SettingsReader<'_>) -> Option<StreamConfig> {
    let hold_for = read.duration("stream.hold_for");
    let hold_bytes = read.size("stream.hold_bytes");
    Some(StreamConfig { hold_for: hold_for?, hold_bytes: hold_bytes? })
}

pub(super) fn chat(read: &mut SettingsReader<'_>) -> Option<ChatConfig> {
    let enabled = read.boolean("chat.enabled");
    let path = read.text("chat.path", BasePath::parse);
    let id_format = id_format(read);
    let acted = read.text("chat.acted", meaning::sentence);
    let statuses = [(422, InvalidStatus::UnprocessableEntity), (400, InvalidStatus::BadRequest)];
    let invalid_status = read.status("chat.invalid_status", &statuses);
    let max_message_chars = read.size("chat.max_message_chars");
    let max_sessions = read.limit("chat.max_sessions");
    let max_messages = read.limit("chat.max_messages");
    Some(ChatConfig {
        enabled: enabled?,
        path: path?,
        id_format: id_format?,
        acted: acted?,
        invalid_status: invalid_status?,
        max_message_chars: max_message_chars?,
        max_sessions: NonZeroU32::new(max_sessions?),
        max_messages: NonZeroU32::new(max_messages?),
    })
}

pub(super) fn id_format(read: &mut SettingsReader<'_>) -> Option<ConversationIds> {
    let formats = [
        ("uuid", ConversationIds::Uuid),
        ("integer", ConversationIds::Integer),
        ("conv", ConversationIds::Conv),
    ];
    read.choice("chat.id_format", &formats)
}

pub(super) fn openai(read: &mut SettingsReader<'_>) -> Option<OpenAiConfig> {
    let enabled = read.boolean("openai.enabled");
    let path = read.text("openai.path", BasePath::parse);
    let api_keys = read.api_keys("openai.api_keys");
    Some(OpenAiConfig { enabled: enabled?, path: path?, api_keys: api_keys? })
}

pub(super) fn cors(read: &mut SettingsReader<'_>) -> Option<CorsConfig> {
    let allowed_origins = read.list("cors.allowed_origins", AllowedOrigins::parse)?;
    Some(CorsConfig { allowed_origins })
}

pub(super) fn passthrough(read: &mut SettingsReader<'_>) -> Option<PassthroughConfig> {
    let unknown = [("refuse", UnknownRequests::Refuse), ("forward", UnknownRequests::Forward)];
    Some(PassthroughConfig { unknown: read.choice("passthrough.unknown", &unknown)? })
}

pub(super) fn log(read: &mut SettingsReader<'_>) -> Option<LogConfig> {
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = read.choice("log.format", &formats);
    let level = read.text("log.level", LogLevel::parse);
    Some(LogConfig { format: format?, level: level? })
}

pub(super) fn admin(read: &mut SettingsReader<'_>) -> Option<AdminConfig> {
    let optional = |text: &str| match text {
        "" => Ok(None),
        text => address::listener(text).map(Some),
    };
    let listen = read.meant("admin.listen", optional, address::meant_listener)?;
    Some(AdminConfig { listen })
}
