//! After a lost connection: whether Redis has carried out the batch in flight, and what follows from that.
//!
//! The checkpoint has the number of the last batch that was carried out. One that was not is sent as it is. One
//! that was has lost its replies, so it is done once more, or, where that would not end in the same, by a session
//! that begins anew with it.

use super::super::checkpoint;
use super::super::shards;
use super::Writer;
use crate::error::Error;
use crate::redis::lanes::Lanes;
use crate::redis::{Client, Connection};

impl Writer {
    /// One attempt at going on after an error: a new connection, the fence armed, and the batch in flight
    /// sent again, whether the checkpoint has it or not.
    pub(in crate::pipeline) async fn reconnect(&mut self) -> Result<(), Error> {
        let Writer { lanes, flight, target, keys, .. } = self;
        match lanes {
            Lanes::One(lane) => {
                let mut redis = Connection::open(target).await?;
                lane.fence().renew(&mut redis).await?;
                let found = checkpoint::batch_of(&redis.call(&checkpoint::ask_batch(keys)).await?);
                match flight {
                    // What it replied is lost. Done once more it ends in the same, unless something is moved
                    // twice, or inserted where it is by now.
                    Some(sent)
                        if found == sent.number
                            && !sent.letters
                            && !lane.has(b"RENAME")
                            && (sent.before == sent.position || !lane.has(b"RESTORE")) =>
                    {
                        lane.replace_connection(redis);
                        sent.repeated = true;
                    }
                    Some(sent) if found == sent.number => {
                        return Err(Error::Restart(
                            "Redis has carried out the last batch, but its replies were lost: beginning again \
                             with that batch"
                                .to_owned(),
                        ));
                    }
                    Some(sent) if found + 1 == sent.number => lane.replace_connection(redis),
                    None if found == self.batch => lane.replace_connection(redis),
                    _ => return Err(self.elsewhere(found)),
                }
            }
            Lanes::Shards(lanes) => {
                lanes.reconnect().await?;
                let mut redis = Client::open(target).await?;
                if shards::behind(&mut redis, keys).await?.is_some() {
                    return Err(Error::Rewound(
                        "a shard of Redis has forgotten data: beginning again from what is there".to_owned(),
                    ));
                }
                let found = checkpoint::batch_of(&redis.call(&checkpoint::ask_batch(keys)).await?);
                match flight {
                    // Letters would be written twice; who begins anew reads which are there.
                    Some(sent) if sent.letters => return Err(self.elsewhere(found)),
                    // Commands of a batch that was sent twice say the same, and no key is moved.
                    Some(sent) if found == sent.number || found + 1 == sent.number => {
                        lanes.send_again();
                        sent.repeated = true;
                    }
                    None if found == self.batch => {}
                    _ => return Err(self.elsewhere(found)),
                }
            }
        }
        Ok(())
    }

    fn elsewhere(&self, found: u64) -> Error {
        let words = format!(
            "Redis is at batch {found}, which is not where it was left (batch {}); beginning again from its \
             checkpoint",
            self.batch
        );
        // One that is in flight may not have arrived.
        if found + 1 < self.batch { Error::Rewound(words) } else { Error::Restart(words) }
    }
}
