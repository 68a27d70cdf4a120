//! The variables of how long things may take (spec/route.md 13, 17.4).

use super::{
    super::{Kind, Row, show},
    row,
};

/// Where two rows set the same thing, the later one wins.
pub const TIMEOUTS: &[Row] = &[
    row(
        "ROUTER_DEFAULT_CONNECT_TIMEOUT",
        "connecting to a pod",
        Kind::Duration(|settings, value| settings.timeouts.connect = value),
    )
    .shows(|settings| show::duration(settings.timeouts.connect)),
    row(
        "ROUTER_DEFAULT_CLIENT_TIMEOUT",
        "client inactivity",
        Kind::Duration(|settings, value| settings.timeouts.client = value),
    )
    .shows(|settings| show::duration(settings.timeouts.client)),
    row(
        "ROUTER_DEFAULT_SERVER_TIMEOUT",
        "pod inactivity",
        Kind::Duration(|settings, value| settings.timeouts.server = value),
    )
    .shows(|settings| show::duration(settings.timeouts.server)),
    row(
        "ROUTER_DEFAULT_TUNNEL_TIMEOUT",
        "inactivity of a WebSocket or passthrough connection",
        Kind::Duration(|settings, value| settings.timeouts.tunnel = value),
    )
    .shows(|settings| show::duration(settings.timeouts.tunnel)),
    row(
        "ROUTER_CLIENT_FIN_TIMEOUT",
        "silence of a tunnel whose client has closed",
        Kind::Duration(|settings, value| settings.timeouts.client_fin = value),
    )
    .shows(|settings| show::duration(settings.timeouts.client_fin)),
    row(
        "ROUTER_DEFAULT_SERVER_FIN_TIMEOUT",
        "silence of a tunnel whose pod has closed",
        Kind::Duration(|settings, value| settings.timeouts.server_fin = value),
    )
    .shows(|settings| show::duration(settings.timeouts.server_fin)),
    row(
        "WHARF_EXPECT_TIMEOUT",
        "how long a pod may keep Expect: 100-continue waiting",
        Kind::Duration(|settings, value| settings.timeouts.expect = value),
    )
    .shows(|settings| show::duration(settings.timeouts.expect)),
    row(
        "WHARF_PARK_TIMEOUT",
        "idle time after which a client connection gives its buffers back",
        Kind::Duration(|settings, value| settings.timeouts.park = value),
    )
    .shows(|settings| show::duration(settings.timeouts.park)),
    row(
        "WHARF_POOL_IDLE_TIMEOUT",
        "pod connection without a request",
        Kind::Duration(|settings, value| settings.timeouts.pool_idle = value),
    )
    .shows(|settings| show::duration(settings.timeouts.pool_idle)),
    row(
        "WHARF_POOL_MAX_AGE",
        "age at which a pod connection takes no further request",
        Kind::Duration(|settings, value| settings.timeouts.pool_age = value),
    )
    .shows(|settings| show::duration(settings.timeouts.pool_age)),
    row(
        "ROUTER_SLOWLORIS_TIMEOUT",
        "receiving a request head; the TLS handshake",
        Kind::Duration(|settings, value| {
            settings.timeouts.head = value;
            settings.timeouts.handshake = value;
        }),
    )
    .shows(|settings| show::duration(settings.timeouts.head)),
    row(
        "ROUTER_SLOWLORIS_HTTP_KEEPALIVE",
        "between two requests of a connection",
        Kind::Duration(|settings, value| settings.timeouts.keep_alive = value),
    )
    .shows(|settings| show::duration(settings.timeouts.keep_alive)),
    row(
        "WHARF_PROXY_HEADER_TIMEOUT",
        "receiving a PROXY header",
        Kind::Duration(|settings, value| settings.timeouts.proxy_header = value),
    )
    .shows(|settings| show::duration(settings.timeouts.proxy_header)),
    row(
        "ROUTER_BACKEND_CHECK_INTERVAL",
        "between two health checks of an endpoint",
        Kind::Duration(|settings, value| settings.timeouts.check_interval = value),
    )
    .shows(|settings| show::duration(settings.timeouts.check_interval)),
];
