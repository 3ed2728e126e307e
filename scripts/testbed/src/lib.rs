//! What tests, chaos, load and comparison start and look at. Whoever starts a process here has it ended with its value,
//! by its id.

mod clock;
pub mod limits;
pub mod machine;
pub mod metrics;
mod ports;
mod proc_stat;
pub mod process;
pub mod programs;
pub mod redis;
mod wait;

pub use ports::{free_address, free_port};
pub use process::{Process, Signal};
pub use redis::RedisServer;
pub use wait::{PATIENCE, until};
