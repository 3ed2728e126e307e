//! HTTP as both services speak it: the server, what happens around every call, problem documents, the document.

mod host;
pub mod middleware;
pub mod openapi;
pub mod page;
pub mod parameters;
pub mod probes;
pub mod problem;
pub mod request_id;
pub mod server;
