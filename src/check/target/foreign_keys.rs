//! Keys of others where our rows will be: they would be written over, and those that no row has would be
//! removed when the tables have been read.

use std::time::{Duration, Instant};

use crate::check::report::{Findings, some_of};
use crate::check::seen::Target;
use crate::check::{Check, Look};
use crate::plan::Plan;
use crate::plan::key::KeyPattern;
use crate::redis::scan::Scan;
use crate::redis::{Client, Error};

pub(in crate::check) const CHECK: Check =
    Check { name: "foreign_keys", about: "keys of others under our names", look: Look::Target(look) };

/// How long keys are looked through. Redis answers others meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::check) enum Foreign {
    /// A checkpoint says that this pipeline has written them.
    Ours,
    Found(Vec<String>),
    None,
    /// There was no time to see them all.
    NoneSoFar,
}

impl Foreign {
    pub(in crate::check) async fn look<'p>(
        redis: &mut Client,
        plans: impl Iterator<Item = &'p Plan>,
    ) -> Result<Foreign, Error> {
        let patterns: Vec<KeyPattern> =
            plans.flat_map(|plan| plan.sinks.iter().map(|sink| sink.pattern())).collect();
        let began = Instant::now();
        let mut scan = Scan::new(b"*".to_vec());
        let mut found = Vec::new();
        // In one pass for all patterns: each would look through all keys.
        while let Some(keys) = scan.page(redis).await? {
            let ours = |key: &&Vec<u8>| patterns.iter().any(|pattern| pattern.matches(key));
            found.extend(keys.iter().filter(ours).map(|key| String::from_utf8_lossy(key).into_owned()));
            if !found.is_empty() {
                return Ok(Foreign::Found(found));
            }
            if began.elapsed() > PATIENCE {
                return Ok(Foreign::NoneSoFar);
            }
        }
        Ok(Foreign::None)
    }
}

fn look(target: &Target<'_>, findings: &mut Findings<'_>) {
    match &target.foreign {
        Err(error) => findings.unseen(error, None),
        Ok(Foreign::Ours) => findings.ok("this pipeline has written there before"),
        Ok(Foreign::None) => findings.ok("none"),
        Ok(Foreign::NoneSoFar) => {
            let seconds = PATIENCE.as_secs();
            findings.ok(format!("none among those that could be looked through in {seconds} s"));
        }
        Ok(Foreign::Found(keys)) => findings.warn(
            format!(
                "{} and perhaps others: they are written over, and removed where no row has them",
                some_of(keys)
            ),
            "RENAME them, or give the outputs another `key`; nothing is to be done if they are from an earlier run of \
             yours",
        ),
    }
}
