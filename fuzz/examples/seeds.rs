//! Writes the seeds of every target to the corpus that cargo-fuzz begins with.

use std::{fs, io};

use redis_connect_postgres::fuzzing::targets;

fn main() -> io::Result<()> {
    for target in targets() {
        let corpus = format!("{}/corpus/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        fs::create_dir_all(&corpus)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(format!("{corpus}/seed-{number}"), seed)?;
        }
    }
    Ok(())
}
