//! One side of a peer: `front` takes HTTP calls, `worker` answers them; NAME says what lies between. All fronts are
//! the same but for how they ask, all workers the same but for how they are asked.

mod direct;
mod front;
mod jetstream;
mod nats;
mod pending;
mod rabbitmq;
mod weather;

use std::error::Error;
use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};

/// Any failure: a peer that cannot go on ends, and says why.
type BoxError = Box<dyn Error + Send + Sync>;

/// Questions a worker works on at the same time: as many as Roundtrip's `TERMINALS`.
const CONCURRENCY: usize = 64;

/// A front or a worker of one of the systems Roundtrip is compared with.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve `POST /WeatherForecast/city`, and have it answered by the worker
    Front {
        /// What lies between front and worker
        #[arg(long)]
        peer: Peer,
        /// Address to serve on
        #[arg(long)]
        listen: SocketAddr,
        /// The broker's URL; for `direct` the worker's HOST:PORT
        #[arg(long)]
        server: String,
    },
    /// Answer what the front asks
    Worker {
        /// What lies between front and worker
        #[arg(long)]
        peer: Peer,
        /// The broker's URL; for `direct` the HOST:PORT to serve on
        #[arg(long)]
        server: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// HTTP from the front to the worker
    Direct,
    /// NATS request/reply
    Nats,
    /// A NATS JetStream work queue, replies over core NATS
    Jetstream,
    /// A durable RabbitMQ queue, replies by direct reply-to
    Rabbitmq,
}

// As in Roundtrip's services.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), BoxError> {
    // As many threads as Roundtrip's services take: the broker and the other side want the rest of the machine.
    let runtime = roundtrip::process::runtime::build(roundtrip::process::runtime::Share::Half, None)?;
    runtime.block_on(run())
}

async fn run() -> Result<(), BoxError> {
    match Args::parse().role {
        Role::Front { peer, listen, server } => match peer {
            Peer::Direct => front::serve(listen, direct::Asker::new(&server)).await,
            Peer::Nats => front::serve(listen, nats::Asker::connect(&server).await?).await,
            Peer::Jetstream => front::serve(listen, jetstream::Asker::connect(&server).await?).await,
            Peer::Rabbitmq => front::serve(listen, rabbitmq::Asker::connect(&server).await?).await,
        },
        Role::Worker { peer, server } => match peer {
            Peer::Direct => direct::work(&server).await,
            Peer::Nats => nats::work(&server).await,
            Peer::Jetstream => jetstream::work(&server).await,
            Peer::Rabbitmq => rabbitmq::work(&server).await,
        },
    }
}
