//! The rows of HTTP/2 in the table of environment variables.

use std::time::Duration;

use super::{Kind, Row, rows::row, show};

/// What one connection of a client may hold and send (reliability.md 6.3).
pub const HTTP2: &[Row] = &[
    row(
        "WHARF_HTTP2_MAX_STREAMS",
        "streams at once on a client's HTTP/2 connection",
        Kind::Number(1, u32::MAX, |settings, value| settings.http2.max_streams = value),
    )
    .shows(|settings| settings.http2.max_streams.to_string()),
    row(
        "WHARF_HTTP2_STREAM_WINDOW",
        "bytes that a client may send ahead on a stream",
        Kind::Number(1, 0x7fff_ffff, |settings, value| settings.http2.stream_window = value),
    )
    .shows(|settings| settings.http2.stream_window.to_string()),
    row(
        "WHARF_HTTP2_CONNECTION_WINDOW",
        "bytes that a client may send ahead on a connection",
        Kind::Number(65_535, 0x7fff_ffff, |settings, value| {
            settings.http2.connection_window = value;
        }),
    )
    .shows(|settings| settings.http2.connection_window.to_string()),
    row(
        "WHARF_HTTP2_MAX_FRAME_SIZE",
        "longest frame that a client may send",
        Kind::Number(16_384, 16_777_215, |settings, value| settings.http2.max_frame_size = value),
    )
    .shows(|settings| settings.http2.max_frame_size.to_string()),
    row(
        "WHARF_HTTP2_MAX_HEADER_LIST",
        "decoded bytes of a client's header list",
        Kind::Number(16_384, 16_777_215, |settings, value| settings.http2.max_header_list = value),
    )
    .shows(|settings| settings.http2.max_header_list.to_string()),
    row(
        "WHARF_HTTP2_SEND_BUFFER",
        "bytes of a response that may wait for the client's window",
        Kind::Number(1, 0x7fff_ffff, |settings, value| settings.http2.send_buffer = value as usize),
    )
    .shows(|settings| settings.http2.send_buffer.to_string()),
    row(
        "WHARF_HTTP2_PENDING_RESETS",
        "streams reset by the client before they were looked at",
        Kind::Number(1, u32::MAX, |settings, value| settings.http2.pending_resets = value as usize),
    )
    .shows(|settings| settings.http2.pending_resets.to_string()),
    row(
        "WHARF_HTTP2_RESETS",
        "RST_STREAM that a client may send in an interval",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.resets = value),
    )
    .shows(|settings| settings.http2.budgets.resets.to_string()),
    row(
        "WHARF_HTTP2_RESETS_UNANSWERED",
        "RST_STREAM that a client may send before the first response",
        Kind::Number(0, u32::MAX, |settings, value| {
            settings.http2.budgets.resets_unanswered = value;
        }),
    )
    .shows(|settings| settings.http2.budgets.resets_unanswered.to_string()),
    row(
        "WHARF_HTTP2_RESETS_TOTAL",
        "RST_STREAM that a client may send on a connection",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.resets_total = value),
    )
    .shows(|settings| settings.http2.budgets.resets_total.to_string()),
    row(
        "WHARF_HTTP2_RESETS_EMITTED",
        "RST_STREAM that a client may cause on a connection",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.resets_emitted = value),
    )
    .shows(|settings| settings.http2.budgets.resets_emitted.to_string()),
    row(
        "WHARF_HTTP2_CONTINUATIONS",
        "CONTINUATION in a header block",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.continuations = value),
    )
    .shows(|settings| settings.http2.budgets.continuations.to_string()),
    row(
        "WHARF_HTTP2_HEADER_BLOCK",
        "bytes of a header block as it is sent",
        Kind::Number(1, u32::MAX, |settings, value| settings.http2.budgets.header_block = value),
    )
    .shows(|settings| settings.http2.budgets.header_block.to_string()),
    row(
        "WHARF_HTTP2_SETTINGS",
        "SETTINGS that a client may send in an interval",
        Kind::Number(1, u32::MAX, |settings, value| settings.http2.budgets.settings = value),
    )
    .shows(|settings| settings.http2.budgets.settings.to_string()),
    row(
        "WHARF_HTTP2_PINGS",
        "PING that a client may send in an interval",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.pings = value),
    )
    .shows(|settings| settings.http2.budgets.pings.to_string()),
    row(
        "WHARF_HTTP2_EMPTY_FRAMES",
        "DATA and HEADERS without bytes in an interval",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.empty_frames = value),
    )
    .shows(|settings| settings.http2.budgets.empty_frames.to_string()),
    row(
        "WHARF_HTTP2_IGNORED_FRAMES",
        "PRIORITY and unknown frames in an interval",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.ignored = value),
    )
    .shows(|settings| settings.http2.budgets.ignored.to_string()),
    row(
        "WHARF_HTTP2_WINDOW_UPDATES",
        "WINDOW_UPDATE in an interval, beyond what responses call for",
        Kind::Number(0, u32::MAX, |settings, value| settings.http2.budgets.window_updates = value),
    )
    .shows(|settings| settings.http2.budgets.window_updates.to_string()),
    row(
        "WHARF_HTTP2_PING_INTERVAL",
        "between two PINGs to a client, at least 1s",
        Kind::Duration(|settings, value| {
            settings.http2.ping_interval = value.max(Duration::from_secs(1));
        }),
    )
    .shows(|settings| show::duration(settings.http2.ping_interval)),
    row(
        "WHARF_HTTP2_PING_TIMEOUT",
        "how long the answer to one may take",
        Kind::Duration(|settings, value| settings.http2.ping_timeout = value),
    )
    .shows(|settings| show::duration(settings.http2.ping_timeout)),
    row(
        "WHARF_HTTP2_BUDGET_INTERVAL",
        "interval of the budgets of frames",
        Kind::Duration(|settings, value| settings.http2.budgets.interval = value),
    )
    .shows(|settings| show::duration(settings.http2.budgets.interval)),
];
