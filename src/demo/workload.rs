//! Customers of the shop: one visit after the other, as transactions of inserts, updates and deletes.
//!
//! The shop does not grow: with each order an old one goes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::config::Source;
use crate::postgres::{Connection, Error, Purpose};

const CUSTOMERS: u64 = 5000;
const PRODUCTS: u64 = 200;

/// No visit takes longer.
const LONGEST: Duration = Duration::from_secs(5);

/// After a visit that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What customers do, and how often they come.
#[derive(Debug)]
pub(crate) struct Workload {
    source: Source,
    period: Duration,
    dice: Dice,
}

impl Workload {
    pub(crate) fn new(source: Source, visits_per_second: u32) -> Workload {
        let period = Duration::from_secs(1) / visits_per_second.max(1);
        Workload { source, period, dice: Dice::new() }
    }

    /// Until `stop`; a visit that has begun goes on to its end. Returns how many were committed.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> u64 {
        let mut connection = None;
        let mut visits = 0;
        let mut turn = interval(self.period);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return visits,
                _ = turn.tick() => {}
            }
            let failed = match timeout(LONGEST, self.visit(&mut connection)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("PostgreSQL has not answered for {} s", LONGEST.as_secs())),
            };
            match failed {
                None => visits += 1,
                // Somebody tries out what happens when a table is dropped or locked, or a server is stopped.
                Some(why) => {
                    tracing::warn!("a customer of the shop can't go on: {why}");
                    connection = None;
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return visits,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    async fn visit(&mut self, connection: &mut Option<Connection>) -> Result<(), Error> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(Connection::open(&self.source, Purpose::Sql).await?),
        };
        connection.query(&self.dice.visit()).await.map(|_| ())
    }
}

#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        // The standard library's only randomness.
        Dice(RandomState::new().build_hasher().finish() | 1)
    }

    /// From 0 to `sides - 1`.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % sides
    }

    fn sku(&mut self) -> String {
        format!("SKU-{:03}", 1 + self.throw(PRODUCTS))
    }

    /// One transaction.
    fn visit(&mut self) -> String {
        let customer = 1 + self.throw(CUSTOMERS);
        let (sku, quantity) = (self.sku(), 1 + self.throw(9));
        match self.throw(20) {
            0..8 => self.order(customer, &sku, quantity),
            // An order is paid for, or sent.
            8..12 => format!(
                "UPDATE orders SET status = CASE status WHEN 'new' THEN 'paid' ELSE 'shipped' END, note = NULL
                  WHERE id = (SELECT max(id) FROM orders) - {}",
                self.throw(100)
            ),
            12..15 => format!(
                "INSERT INTO carts VALUES ({customer}, '{sku}', {quantity})
                     ON CONFLICT (customer_id, sku) DO UPDATE SET quantity = excluded.quantity"
            ),
            // As many are emptied as are filled.
            15..18 => "DELETE FROM carts WHERE (customer_id, sku) IN
                           (SELECT customer_id, sku FROM carts ORDER BY random() LIMIT 1)"
                .to_owned(),
            18 => format!(
                "UPDATE customers SET city = (ARRAY['Oslo', 'Lagos', 'Porto', 'Kyoto', 'Brno'])[1 + {}],
                        tags = CASE WHEN tags = '{{}}' THEN ARRAY['moved'] ELSE '{{}}' END WHERE id = {customer}",
                self.throw(5)
            ),
            _ => format!(
                "UPDATE products SET price = {quantity}.95, category = (ARRAY['light', 'seats', 'tables', 'storage'])[1 + {}]
                  WHERE sku = '{sku}'",
                self.throw(4)
            ),
        }
    }

    /// An order with its items, what was sold, what it costs; and the end of the oldest orders.
    fn order(&mut self, customer: u64, sku: &str, quantity: u64) -> String {
        let (other, note) = (self.sku(), if quantity > 5 { "'bulk'" } else { "NULL" });
        format!(
            "BEGIN;
             UPDATE customers SET credit = credit - {quantity} WHERE id = {customer};
             UPDATE products SET sold = sold + {quantity} WHERE sku = '{sku}';
             WITH made AS (INSERT INTO orders (customer_id, total, note)
                           VALUES ({customer}, {quantity} * 9.99, {note}) RETURNING id)
             INSERT INTO order_items SELECT DISTINCT id, sku, {quantity} FROM made, unnest(ARRAY['{sku}', '{other}']) sku;
             DELETE FROM orders WHERE id <= (SELECT max(id) FROM orders) - 2000;
             COMMIT"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_show_every_side() {
        let mut dice = Dice::new();
        let mut seen = [0; 20];
        for _ in 0..10_000 {
            seen[dice.throw(20) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (300..700).contains(count)), "{seen:?}");
    }
}
