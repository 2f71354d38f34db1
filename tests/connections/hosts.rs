//! Several hosts.

use redis_connect_postgres::throwaway::{free_port, postgres as pg};

use super::{assert_says, run, server};

#[test]
fn a_dead_one_and_the_right_one() {
    let world = server("");
    let standby = world.postgres().standby(pg::Settings::default()).unwrap();
    let dead = free_port().unwrap();
    let hosts = |ports: &[u16], options: &str| {
        let list: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgresql://postgres@{}/{}?{options}", list.join(","), world.name)
    };
    let primary = world.postgres_port();
    run(&world, &hosts(&[dead, primary], ""), "", &[]).unwrap();
    for wanted in ["read-write", "primary"] {
        let options = format!("target_session_attrs={wanted}");
        run(&world, &hosts(&[dead, standby.port(), primary], &options), "", &[]).unwrap();
        let options = format!("{options}&load_balance_hosts=random");
        run(&world, &hosts(&[standby.port(), primary], &options), "", &[]).unwrap();
        let nobody = run(&world, &hosts(&[dead, standby.port()], &options), "", &[]);
        assert_says(nobody, &["none of the hosts", "it is a standby", "target_session_attrs", "refused"]);
    }
    for wanted in ["standby", "read-only"] {
        let options = format!("target_session_attrs={wanted}");
        assert_says(run(&world, &hosts(&[primary], &options), "", &[]), &["it is a primary", wanted]);
        // It has come to the standby: whether that will do is another question.
        let found = run(&world, &hosts(&[primary, standby.port()], &options), "", &[]);
        let at = format!("127.0.0.1:{}: it is a standby", standby.port());
        if standby.version() < 16 {
            assert_says(found, &[&at, "PostgreSQL 16"]);
        }
    }
    run(&world, &hosts(&[primary], "target_session_attrs=prefer-standby"), "", &[]).unwrap();
}
