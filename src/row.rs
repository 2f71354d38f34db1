//! One row as it arrived: cells that borrow from the receive buffer.
//!
//! The kernel copied the bytes in once; nothing is copied here. A [`Row`] is a view: the bytes of
//! one message and, for each column, where its text lies in them. The decoder owns the list of
//! [`Cell`]s and uses it again for every row, so that a row costs no allocation.
//!
//! "Unchanged" is a value of its own. PostgreSQL sends it for a TOASTed column that an UPDATE did
//! not touch; it is neither NULL nor a value, and the type says so to everyone who looks.

/// Where one column's text lies in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    start: u32,
    len: u32,
}

impl Cell {
    pub(crate) const NULL: Cell = Cell { start: u32::MAX, len: 0 };
    pub(crate) const UNCHANGED: Cell = Cell { start: u32::MAX, len: 1 };

    /// Messages are shorter than 1 GiB (PostgreSQL's limit for a row), so 32 bits hold any offset.
    pub(crate) fn text(start: usize, len: usize) -> Cell {
        Cell { start: start as u32, len: len as u32 }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    /// A TOASTed value that the UPDATE left alone and PostgreSQL did not send.
    Unchanged,
    /// PostgreSQL's text output of the value.
    Text(&'a [u8]),
}

/// A row borrowed from the receive buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    data: &'a [u8],
    cells: &'a [Cell],
}

impl<'a> Row<'a> {
    pub(crate) fn new(data: &'a [u8], cells: &'a [Cell]) -> Row<'a> {
        Row { data, cells }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Some value was not sent because it did not change.
    #[inline]
    pub(crate) fn has_unchanged(&self) -> bool {
        self.cells.contains(&Cell::UNCHANGED)
    }

    /// The value of column `index`. A column that the message does not have reads as NULL.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Value<'a> {
        match self.cells.get(index) {
            None | Some(&Cell::NULL) => Value::Null,
            Some(&Cell::UNCHANGED) => Value::Unchanged,
            Some(cell) => {
                let start = cell.start as usize;
                match self.data.get(start..start + cell.len as usize) {
                    Some(text) => Value::Text(text),
                    None => Value::Null,
                }
            }
        }
    }
}

/// One change of one row. The variants differ in what they know, so that a partial row can't be
/// taken for a whole one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A whole row: from the snapshot, from an INSERT, or read again by its key.
    Whole { new: Row<'a> },
    /// An UPDATE. `new` may have unchanged cells. `old` is there when the replica identity changed
    /// or is FULL; outside FULL, only its identity columns are values.
    Update { old: Option<Row<'a>>, new: Row<'a> },
    /// A DELETE. Outside REPLICA IDENTITY FULL, only the identity columns of `old` are values.
    Delete { old: Row<'a> },
}
