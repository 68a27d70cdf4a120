//! L0: sockets and time: listening, dialling, relaying, PROXY headers, timed I/O. No domain words.

pub mod address_map;
pub mod alarm;
pub mod cgroup;
pub mod clock;
pub mod connect;
pub mod datagrams;
pub mod descriptors;
pub mod flat;
pub mod footprint;
pub mod listen;
pub mod netfilter;
pub mod nft;
pub mod peek;
pub mod proxy_protocol;
pub mod readable;
pub mod relay;
pub mod reset;
pub mod saved_syn;
pub mod splice;
pub mod tcp_info;
pub mod timed;
pub mod transparent;
pub mod udp;
