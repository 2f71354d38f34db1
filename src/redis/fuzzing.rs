//! Replies, for [`crate::fuzzing`]: the transcript is known only here.

use super::resp::{Reply, Unread, element, reply};
use super::transcript::{Transcript, Verdict};
use crate::fuzzing::bounded;

/// Bytes of memory for a byte of replies: an empty text of three bytes is a [`Reply`].
const READ: usize = 32;

/// The first byte says how many commands the transaction has and in which pieces its replies come.
pub(crate) fn replies(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    progress(bytes, element(bytes).map(|(_, length)| length));
    let read = reply(bytes);
    if let Ok((found, _)) = &read {
        bounded("a reply", size(found), READ, bytes.len());
    }
    progress(bytes, read.map(|(_, length)| length));
    let (commands, piece) = (usize::from(first % 8), usize::from(first / 8) + 1);
    let whole = transcript(commands, bytes, bytes.len().max(1));
    assert_eq!(transcript(commands, bytes, piece), whole, "the pieces make a difference");
}

/// What is read lies in the bytes, and what is waited for does not.
fn progress(bytes: &[u8], read: Result<usize, Unread>) {
    match read {
        Ok(length) => assert!((1..=bytes.len()).contains(&length), "{length} of {} bytes", bytes.len()),
        Err(Unread::Incomplete(wanted)) => assert!(wanted > bytes.len(), "waits for what is there"),
        Err(Unread::Nonsense) => {}
    }
}

fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Text(text) => text.capacity(),
        Reply::Error(text) => text.capacity(),
        Reply::Integer(_) | Reply::Nil => 0,
        Reply::Array(replies) => {
            replies.capacity() * size_of::<Reply>() + replies.iter().map(size).sum::<usize>()
        }
    }
}

fn transcript(commands: usize, bytes: &[u8], piece: usize) -> Option<(usize, Verdict)> {
    let mut transcript = Transcript::new(commands, crate::config::Durability::Memory);
    let mut start = 0;
    let mut end = 0;
    loop {
        match transcript.read(bytes.get(start..end).unwrap_or_default()) {
            Err(_) => return None,
            Ok((read, verdict)) => {
                assert!(read <= end - start, "more was read than there is");
                start += read;
                if let Some(verdict) = verdict {
                    bounded("a verdict", size_of_verdict(&verdict), READ, bytes.len());
                    return Some((start, verdict));
                }
            }
        }
        if end == bytes.len() {
            return None;
        }
        end = (end + piece).min(bytes.len());
    }
}

fn size_of_verdict(verdict: &Verdict) -> usize {
    let epoch_size = |epoch: &Option<String>| epoch.as_ref().map_or(0, String::capacity);
    match verdict {
        Verdict::Refused(reply) | Verdict::Unacknowledged(reply) => reply.capacity(),
        Verdict::Fenced { epoch } => epoch_size(epoch),
        Verdict::Executed { failed, epoch, .. } => {
            let texts: usize = failed.iter().map(|(_, reply)| reply.capacity()).sum();
            failed.capacity() * size_of::<(usize, String)>() + texts + epoch_size(epoch)
        }
    }
}
