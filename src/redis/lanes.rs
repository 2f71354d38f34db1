//! The way that batches take: one lane, or one for each shard.

use std::task::{Context, Poll};

use super::lane::{Done, Fence, Lane};
use super::resp::Commands;
use super::shards::{Names, Shards};
use super::{Client, Connection, Error, Spread};
use crate::config::Target;

#[derive(Debug)]
pub(crate) enum Lanes {
    One(Box<Lane>),
    Shards(Box<Shards>),
}

impl Lanes {
    /// The epoch was raised, and what Redis says of the checkpoint counts from now on.
    pub(crate) async fn open(
        client: &Client,
        target: &Target,
        names: Names,
        fence: Fence,
    ) -> Result<Lanes, Error> {
        if client.spread() == Spread::Whole {
            let lane = Lane::new(Connection::open(target).await?, fence).await?;
            return Ok(Lanes::One(Box::new(lane)));
        }
        Ok(Lanes::Shards(Box::new(Shards::open(client, target, names, fence).await?)))
    }

    pub(crate) fn fence(&self) -> &Fence {
        match self {
            Lanes::One(lane) => lane.fence(),
            Lanes::Shards(shards) => shards.fence(),
        }
    }

    /// What the markers in the shards are called, which the checkpoint has to name.
    pub(crate) fn tags(&self) -> &[String] {
        match self {
            Lanes::One(_) => &[],
            Lanes::Shards(shards) => shards.tags(),
        }
    }

    /// Takes the batch and sends it; `batch` gets an empty buffer back. Where there are markers, they say
    /// `marker`.
    pub(crate) fn send(&mut self, batch: &mut Commands, marker: impl FnOnce() -> String) {
        match self {
            Lanes::One(lane) => lane.send(batch),
            Lanes::Shards(shards) => shards.send(batch, &marker()),
        }
    }

    /// Drives the batch in flight; ready when all its replies have been read.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Error>> {
        match self {
            Lanes::One(lane) => lane.poll_done(cx),
            Lanes::Shards(shards) => shards.poll_done(cx),
        }
    }
}
