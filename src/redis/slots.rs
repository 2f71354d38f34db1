//! Hash slots: which of the 16,384 a key belongs to, and which server has it.
//!
//! Source: Redis documentation, "Redis cluster specification", "Key distribution model" and "Hash tags";
//! `CLUSTER SLOTS`.

use super::resp::Reply;
use crate::config::RedisHost;

/// The number of hash slots.
pub(crate) const SLOTS: usize = 16_384;

/// CRC-16/XMODEM, byte by byte.
const CRC: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The hash slot of a key: of what stands between its first braces, if anything does.
#[inline]
pub(crate) fn slot(key: &[u8]) -> u16 {
    let hashed = match memchr::memchr(b'{', key) {
        Some(open) => {
            let behind = key.get(open + 1..).unwrap_or_default();
            match memchr::memchr(b'}', behind) {
                Some(length @ 1..) => behind.get(..length).unwrap_or(key),
                _ => key,
            }
        }
        None => key,
    };
    let crc = hashed.iter().fold(0_u16, |crc, byte| {
        (crc << 8) ^ CRC.get(usize::from((crc >> 8) as u8 ^ byte)).copied().unwrap_or(0)
    });
    crc % SLOTS as u16
}

/// Which server has which slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotMap {
    masters: Vec<RedisHost>,
    /// For each slot, which of the masters has it.
    of: Vec<Option<u16>>,
}

impl SlotMap {
    /// One server that takes all keys.
    pub(crate) fn one(host: RedisHost) -> SlotMap {
        SlotMap { masters: vec![host], of: vec![Some(0); SLOTS] }
    }

    /// The reply to CLUSTER SLOTS of the server at `asked`. `None` if it is something else.
    pub(crate) fn parse(reply: &Reply, asked: &RedisHost) -> Option<SlotMap> {
        let Reply::Array(ranges) = reply else { return None };
        let mut map = SlotMap { masters: Vec::new(), of: vec![None; SLOTS] };
        for range in ranges {
            let Reply::Array(parts) = range else { return None };
            let [Reply::Integer(first), Reply::Integer(last), Reply::Array(master), ..] = parts.as_slice()
            else {
                return None;
            };
            let [name, Reply::Integer(port), ..] = master.as_slice() else { return None };
            let host =
                RedisHost::Tcp { host: known_name(name.text(), asked)?, port: (*port).try_into().ok()? };
            let index = map.index(&host)?;
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            map.of.get_mut(first..=last)?.fill(Some(index));
        }
        Some(map)
    }

    /// Adds the masters that have no slots, as CLUSTER NODES of the server at `asked` names them. They may get
    /// some at any time, and have keys of those that are on their way to them.
    pub(crate) fn join(&mut self, nodes: &str, asked: &RedisHost) {
        const AWAY: [&str; 4] = ["fail", "fail?", "handshake", "noaddr"];
        let named = self.masters.iter().any(|master| match master {
            RedisHost::Tcp { host, .. } => host.parse::<std::net::IpAddr>().is_err(),
            RedisHost::Unix(_) => false,
        });
        for line in nodes.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, address, flags, ..] = fields.as_slice() else { continue };
            let mut flags = flags.split(',');
            let is_there =
                flags.clone().any(|flag| flag == "master") && !flags.any(|flag| AWAY.contains(&flag));
            let has_slots = fields.iter().skip(8).any(|slots| !slots.starts_with('['));
            if !is_there || has_slots {
                continue;
            }
            // 127.0.0.1:6379@16379,name
            let Some((address, rest)) = address.split_once('@') else { continue };
            let Some((ip, port)) = address.rsplit_once(':') else { continue };
            let name = rest.split(',').nth(1).filter(|name| named && !name.is_empty()).unwrap_or(ip);
            if let (Some(host), Ok(port)) = (known_name(Some(name.to_owned()), asked), port.parse()) {
                self.index(&RedisHost::Tcp { host, port });
            }
        }
    }

    fn index(&mut self, host: &RedisHost) -> Option<u16> {
        let place = self.masters.iter().position(|known| known == host);
        let place = place.unwrap_or_else(|| {
            self.masters.push(host.clone());
            self.masters.len() - 1
        });
        place.try_into().ok()
    }

    pub(crate) fn masters(&self) -> &[RedisHost] {
        &self.masters
    }

    /// The server that has a slot. `None`: nobody serves it.
    pub(crate) fn host(&self, slot: u16) -> Option<&RedisHost> {
        let index = (*self.of.get(usize::from(slot))?)?;
        self.masters.get(usize::from(index))
    }

    /// What part of all slots a server has.
    pub(crate) fn share(&self, host: &RedisHost) -> f64 {
        let place = self.masters.iter().position(|known| known == host);
        let place = place.and_then(|place| u16::try_from(place).ok());
        let count = self.of.iter().filter(|of| of.is_some() && **of == place).count();
        count as f64 / SLOTS as f64
    }

    /// A slot has moved.
    pub(crate) fn moved(&mut self, slot: u16, host: &RedisHost) {
        let index = self.index(host);
        if let Some(of) = self.of.get_mut(usize::from(slot)) {
            *of = index;
        }
    }

    /// A slot that nobody serves.
    pub(crate) fn hole(&self) -> Option<usize> {
        self.of.iter().position(Option::is_none)
    }
}

/// Where an error reply sends us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot has another server.
    Moved(u16, RedisHost),
    /// This key is there already, and the next command only, behind an ASKING.
    Ask(RedisHost),
}

impl Redirect {
    /// Reads `MOVED 3999 127.0.0.1:6381` and `ASK 3999 127.0.0.1:6381`, said by `asked`.
    pub(crate) fn parse(reply: &str, asked: &RedisHost) -> Option<Redirect> {
        let mut words = reply.split(' ');
        let (what, slot, address) = (words.next()?, words.next()?, words.next()?);
        let (name, port) = address.rsplit_once(':')?;
        // An IPv6 address comes without brackets.
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let host =
            RedisHost::Tcp { host: known_name(Some(name.to_owned()), asked)?, port: port.parse().ok()? };
        match what {
            "MOVED" => Some(Redirect::Moved(slot.parse().ok().filter(|slot| *slot < SLOTS as u16)?, host)),
            "ASK" => Some(Redirect::Ask(host)),
            _ => None,
        }
    }
}

/// A server that does not know its own name is where it was asked.
fn known_name(name: Option<String>, asked: &RedisHost) -> Option<String> {
    match (name, asked) {
        (Some(name), _) if !name.is_empty() && name != "?" => Some(name),
        (_, RedisHost::Tcp { host, .. }) => Some(host.clone()),
        (_, RedisHost::Unix(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16) -> RedisHost {
        RedisHost::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn slots_of_keys() {
        // From the specification, and from CLUSTER KEYSLOT.
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), slot_of_all(b"foo{}{bar}"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b""), 0);
    }

    /// Without hash tags, and bit by bit.
    fn slot_of_all(key: &[u8]) -> u16 {
        let mut crc = 0_u16;
        for byte in key {
            crc ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            }
        }
        crc % 16_384
    }

    #[test]
    fn the_map() {
        let node = |host: &str, port| Reply::Array(vec![Reply::Text(host.into()), Reply::Integer(port)]);
        let range = |first, last, node| Reply::Array(vec![Reply::Integer(first), Reply::Integer(last), node]);
        let reply = Reply::Array(vec![
            range(0, 99, node("a", 1)),
            range(100, 16_382, node("", 2)),
            range(16_383, 16_383, node("a", 1)),
        ]);
        let mut map = SlotMap::parse(&reply, &tcp("asked", 7)).unwrap();
        assert_eq!(map.masters(), [tcp("a", 1), tcp("asked", 2)]);
        assert_eq!(
            [0, 99, 100, 16_383].map(|slot| map.host(slot).unwrap().to_string()),
            ["a:1", "a:1", "asked:2", "a:1"]
        );
        assert_eq!(map.hole(), None);
        assert_eq!([map.share(&tcp("a", 1)), map.share(&tcp("c", 3))], [101.0 / 16_384.0, 0.0]);
        map.moved(99, &tcp("c", 3));
        assert_eq!(map.host(99), Some(&tcp("c", 3)));
        let holes = Reply::Array(vec![range(5, 16_383, node("a", 1))]);
        assert_eq!(SlotMap::parse(&holes, &tcp("asked", 7)).unwrap().hole(), Some(0));
        let wrong = Reply::Array(vec![range(5, 16_384, node("a", 1))]);
        assert_eq!(SlotMap::parse(&wrong, &tcp("asked", 7)), None);
        let wrong = Reply::Array(vec![range(7, 5, node("a", 1))]);
        assert_eq!(SlotMap::parse(&wrong, &tcp("asked", 7)), None);
    }

    #[test]
    fn masters_without_slots() {
        let mut map = SlotMap::one(tcp("10.0.0.1", 1));
        let nodes = "a 10.0.0.1:1@11 myself,master - 0 0 1 connected 0-16383\n\
                     b 10.0.0.2:2@12,two master - 0 0 2 connected [5-<-a]\n\
                     c :3@13 master - 0 0 3 connected\n\
                     d 10.0.0.4:4@14 master,fail - 0 0 4 disconnected\n\
                     e 10.0.0.5:5@15 slave a 0 0 1 connected\n";
        map.join(nodes, &tcp("asked", 7));
        assert_eq!(map.masters(), [tcp("10.0.0.1", 1), tcp("10.0.0.2", 2), tcp("asked", 3)]);
        let mut map = SlotMap::one(tcp("one", 1));
        map.join(nodes, &tcp("asked", 7));
        assert_eq!(map.masters(), [tcp("one", 1), tcp("two", 2), tcp("asked", 3)]);
    }

    #[test]
    fn redirects() {
        let asked = tcp("asked", 7);
        let parse = |text: &str| Redirect::parse(text, &asked);
        assert_eq!(parse("MOVED 3999 127.0.0.1:6381"), Some(Redirect::Moved(3999, tcp("127.0.0.1", 6381))));
        assert_eq!(parse("ASK 3999 ::1:6381"), Some(Redirect::Ask(tcp("::1", 6381))));
        assert_eq!(parse("MOVED 3999 :6381"), Some(Redirect::Moved(3999, tcp("asked", 6381))));
        assert_eq!(parse("MOVED 99999 h:6381"), None);
        assert_eq!(parse("ERR something else:1"), None);
    }

    proptest! {
        #[test]
        fn keys_without_braces(key in "[^{}]{0,40}") {
            prop_assert_eq!(slot(key.as_bytes()), slot_of_all(key.as_bytes()));
        }

        #[test]
        fn any_text_is_a_redirect_or_not(text in "(MOVED|ASK)? ?\\PC{0,20}") {
            let _ = Redirect::parse(&text, &tcp("h", 1));
        }
    }
}
