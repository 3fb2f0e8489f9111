//! Rows out of `copy ... (format binary)` (Postgres manual, "COPY", "Binary Format").

use bytes::{Buf, BytesMut};

use crate::postgres::{Body, ProtocolError};
use crate::source::frames::Sent;
use crate::source::row_budget::RowBudget;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The length by which the buffer marks a withheld value; its actual length follows. No server sends it.
const WITHHELD: i32 = -2;

/// Cuts rows out of the copy's bytes, however they are split into messages. Holds no more than a limit of each row:
/// for a value beyond it, only the length.
#[derive(Debug)]
pub(crate) struct CopyRows {
    filter: CopyFilter,
    buffer: BytesMut,
    /// Bytes of the copy before the buffer, without those that were withheld.
    offset: u64,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Header,
    Rows,
    Ended,
}

impl CopyRows {
    /// At the copy's first byte. A row's message in the stream could have `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { filter: CopyFilter::new(limit), buffer: BytesMut::new(), offset: 0, stage: Stage::default() }
    }

    /// Takes the next bytes and passes on each complete row, as its values.
    ///
    /// # Errors
    /// A [`ProtocolError`], whose offset counts from the copy's first byte, or the receiver's own.
    pub(crate) fn push<E: From<ProtocolError>>(
        &mut self,
        bytes: &[u8],
        columns: usize,
        mut row: impl FnMut(&[Sent<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.filter.pass(bytes, &mut self.buffer)?;
        loop {
            let body = Body::new(&self.buffer, self.offset);
            let taken = match self.stage {
                Stage::Header => header(&body)?,
                Stage::Rows => match values(&body, columns)? {
                    Piece::Row { values, length } => {
                        row(&values)?;
                        Some(length)
                    }
                    Piece::End => {
                        self.stage = Stage::Ended;
                        Some(2)
                    }
                    Piece::Partial => None,
                },
                Stage::Ended if body.is_empty() => None,
                Stage::Ended => return Err(body.fail("data after the end of a COPY").into()),
            };
            let Some(taken) = taken else { return Ok(()) };
            self.buffer.advance(taken);
            self.offset += taken as u64;
            if let Stage::Header = self.stage {
                self.stage = Stage::Rows;
            }
        }
    }

    /// Whether the copy's trailer has arrived.
    ///
    /// # Errors
    /// Where it should have been.
    pub(crate) fn finish(&self) -> Result<(), ProtocolError> {
        match self.stage {
            Stage::Ended => Ok(()),
            _ => Err(ProtocolError { what: "a COPY without a trailer", offset: self.offset }),
        }
    }
}

/// The length of the header, if it has arrived completely.
fn header(body: &Body<'_>) -> Result<Option<usize>, ProtocolError> {
    let fixed = SIGNATURE.len() + 8;
    if body.rest().len() < fixed {
        return Ok(None);
    }
    let mut body = body.clone();
    if body.take(SIGNATURE.len(), "a COPY header")? != SIGNATURE {
        return Err(body.fail("no COPY header"));
    }
    body.i32("COPY flags")?;
    let extension = usize::try_from(body.i32("a COPY header's length")?).map_err(|_| body.fail("a negative length"))?;
    Ok((body.rest().len() >= extension).then_some(fixed + extension))
}

enum Piece<'a> {
    Row { values: Vec<Sent<'a>>, length: usize },
    End,
    Partial,
}

fn values<'a>(body: &Body<'a>, columns: usize) -> Result<Piece<'a>, ProtocolError> {
    let whole = body.rest().len();
    let mut body = body.clone();
    if whole < 2 {
        return Ok(Piece::Partial);
    }
    match body.i16("a COPY row's number of columns")? {
        -1 => return Ok(Piece::End),
        count if usize::try_from(count) != Ok(columns) => {
            return Err(body.fail("a COPY row with the wrong number of columns"));
        }
        _ => {}
    }
    let mut values = Vec::with_capacity(columns);
    for _ in 0..columns {
        if body.rest().len() < 4 {
            return Ok(Piece::Partial);
        }
        let length = body.clone().i32("a COPY value's length")?;
        // The length of a withheld value is followed by its actual length.
        let length = if length == WITHHELD { Ok(4) } else { usize::try_from(length.max(0)) };
        if length.is_ok_and(|length| body.rest().len() - 4 < length) {
            return Ok(Piece::Partial);
        }
        values.push(match body.clone().i32("a COPY value's length")? {
            WITHHELD => {
                body.i32("a mark")?;
                Sent::Withheld(body.i32("a COPY value's length")?.unsigned_abs())
            }
            _ => body.value("a COPY value")?.into(),
        });
    }
    Ok(Piece::Row { values, length: whole - body.rest().len() })
}

/// Passes on a copy's bytes, without values that are too large.
#[derive(Debug)]
struct CopyFilter {
    step: Step,
    limit: usize,
    budget: RowBudget,
    /// Remaining columns of the row.
    columns: u16,
    /// The part of a length read so far.
    field: [u8; 4],
    /// The next byte's offset in the copy.
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Remaining bytes of the header, the last of which are the length of its extension.
    Header(usize),
    /// Remaining bytes of the extension.
    Extension(usize),
    /// Remaining bytes of a row's number of columns.
    Count(usize),
    /// Remaining bytes of a value's length.
    Length(usize),
    /// Remaining bytes of a value that is passed on.
    Copy(usize),
    /// Remaining bytes of one that is not.
    Skip(usize),
    /// What follows the copy's end.
    End,
}

impl CopyFilter {
    const fn new(limit: usize) -> Self {
        let step = Step::Header(SIGNATURE.len() + 8);
        Self { step, limit, budget: RowBudget::new(limit), columns: 0, field: [0; 4], offset: 0 }
    }

    fn pass(&mut self, mut bytes: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
        while !bytes.is_empty() {
            let count = match self.step {
                Step::Header(missing) | Step::Extension(missing) | Step::Count(missing) => missing,
                Step::Length(missing) | Step::Copy(missing) | Step::Skip(missing) => missing,
                Step::End => bytes.len(),
            };
            let (piece, rest) = bytes.split_at(count.min(bytes.len()));
            bytes = rest;
            self.offset += piece.len() as u64;
            let missing = count - piece.len();
            self.step = match self.step {
                Step::Skip(_) if missing > 0 => Step::Skip(missing),
                Step::Skip(_) => self.next_value(),
                _ => {
                    out.extend_from_slice(piece);
                    self.take(piece, missing, out)?
                }
            };
        }
        Ok(())
    }

    /// The next step, when a piece of the current one has been passed on; with this many bytes of it left.
    fn take(&mut self, piece: &[u8], missing: usize, out: &mut BytesMut) -> Result<Step, ProtocolError> {
        let is_field = matches!(self.step, Step::Header(_) | Step::Count(_) | Step::Length(_));
        for byte in piece.iter().filter(|_| is_field) {
            self.field.rotate_left(1);
            self.field[3] = *byte;
        }
        let number = i32::from_be_bytes(self.field);
        Ok(match self.step {
            Step::Header(_) if missing > 0 => Step::Header(missing),
            Step::Header(_) => match usize::try_from(number).unwrap_or(0) {
                0 => Step::Count(2),
                extension => Step::Extension(extension),
            },
            Step::Extension(_) if missing > 0 => Step::Extension(missing),
            Step::Extension(_) => Step::Count(2),
            Step::Count(_) if missing > 0 => Step::Count(missing),
            Step::Count(_) if self.field[2..] == [0xFF; 2] => Step::End,
            Step::Count(_) => {
                self.columns = u16::from_be_bytes([self.field[2], self.field[3]]);
                self.budget = RowBudget::new(self.limit);
                self.next_value()
            }
            Step::Length(_) if missing > 0 => Step::Length(missing),
            Step::Length(_) if number == -1 => {
                self.budget.null();
                self.next_value()
            }
            Step::Length(_) => {
                let what = "a negative length of a COPY value";
                let length = usize::try_from(number).map_err(|_| ProtocolError { what, offset: self.offset })?;
                match length {
                    _ if !self.budget.keeps(length) => {
                        out.truncate(out.len() - 4);
                        out.extend_from_slice(&WITHHELD.to_be_bytes());
                        out.extend_from_slice(&number.to_be_bytes());
                        Step::Skip(length)
                    }
                    0 => self.next_value(),
                    _ => Step::Copy(length),
                }
            }
            Step::Copy(_) if missing > 0 => Step::Copy(missing),
            Step::Copy(_) => self.next_value(),
            step @ (Step::Skip(_) | Step::End) => step,
        })
    }

    fn next_value(&mut self) -> Step {
        if self.columns == 0 {
            return Step::Count(2);
        }
        self.columns -= 1;
        Step::Length(4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9]);
        for row in rows {
            bytes.extend(i16::try_from(row.len()).expect("short").to_be_bytes());
            for value in row {
                let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).expect("short"));
                bytes.extend(length.to_be_bytes());
                bytes.extend(value.iter().flatten());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    type Row = Vec<Result<Option<Vec<u8>>, u32>>;

    /// A value, or the length of a withheld one.
    fn owned(value: &Sent<'_>) -> Result<Option<Vec<u8>>, u32> {
        match value {
            Sent::Null => Ok(None),
            Sent::Value(value) => Ok(Some(value.to_vec())),
            Sent::Withheld(length) => Err(*length),
            Sent::Unreadable(_) => unreachable!("a COPY ends with its first error"),
        }
    }

    fn decoded(pieces: &[&[u8]], columns: usize, limit: usize) -> Result<Vec<Row>, ProtocolError> {
        let mut copy = CopyRows::new(limit);
        let mut rows = Vec::new();
        for piece in pieces {
            copy.push(piece, columns, |row| {
                rows.push(row.iter().map(owned).collect());
                Ok::<_, ProtocolError>(())
            })?;
        }
        copy.finish()?;
        Ok(rows)
    }

    proptest! {
        #[test]
        fn case_38_rows_come_out_without_what_is_too_large_however_the_copy_is_cut(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 3), 0..6),
            cut in 1_usize..40,
            limit in 40_usize..200,
        ) {
            let bytes = encoded(&rows);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let mut expected = Vec::new();
            for row in &rows {
                let mut budget = RowBudget::new(limit);
                expected.push(row.iter().map(|value| match value {
                    None => {
                        budget.null();
                        Ok(None)
                    }
                    Some(value) if budget.keeps(value.len()) => Ok(Some(value.clone())),
                    Some(value) => Err(u32::try_from(value.len()).expect("short")),
                }).collect::<Row>());
            }
            prop_assert_eq!(decoded(&pieces, 3, limit), Ok(expected));
            prop_assert!(decoded(&[&bytes[..bytes.len() - 1]], 3, limit).is_err());
        }

        #[test]
        fn any_bytes_give_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), columns in 0_usize..4) {
            let _ = decoded(&[&bytes], columns, 60);
            let _ = decoded(&[&encoded(&[])[..22], &bytes], columns, 60);
        }
    }
}
