//! Rows out of `copy ... (format binary)` (Postgres manual, "COPY", "Binary Format").

use bytes::{Buf, BytesMut};

use crate::postgres::{Body, ProtocolError};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Cuts rows out of the copy's bytes, wherever the messages that bring them are cut.
#[derive(Debug, Default)]
pub(super) struct CopyRows {
    buffer: BytesMut,
    /// Bytes of the copy before the buffer.
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
    /// Takes the next bytes and hands over each row that is whole, as its values.
    ///
    /// # Errors
    /// A [`ProtocolError`], whose offset counts from the copy's first byte, or the receiver's own.
    pub(super) fn push<E: From<ProtocolError>>(
        &mut self,
        bytes: &[u8],
        columns: usize,
        mut row: impl FnMut(&[Option<&[u8]>]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.extend_from_slice(bytes);
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

    /// Whether the copy's end mark has come.
    ///
    /// # Errors
    /// The place where it should have come.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        match self.stage {
            Stage::Ended => Ok(()),
            _ => Err(ProtocolError { what: "a COPY without its end", offset: self.offset }),
        }
    }
}

/// The length of the header, if it is all there.
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
    Row { values: Vec<Option<&'a [u8]>>, length: usize },
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
            return Err(body.fail("a COPY row with another number of columns"));
        }
        _ => {}
    }
    let mut values = Vec::with_capacity(columns);
    for _ in 0..columns {
        if body.rest().len() < 4 {
            return Ok(Piece::Partial);
        }
        let length = body.clone().i32("a COPY value's length")?;
        if length < -1 {
            return Err(body.fail("a negative length of a COPY value"));
        }
        if usize::try_from(length).is_ok_and(|length| body.rest().len() - 4 < length) {
            return Ok(Piece::Partial);
        }
        values.push(body.value("a COPY value")?);
    }
    Ok(Piece::Row { values, length: whole - body.rest().len() })
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

    fn decoded(pieces: &[&[u8]], columns: usize) -> Result<Vec<Vec<Option<Vec<u8>>>>, ProtocolError> {
        let mut copy = CopyRows::default();
        let mut rows = Vec::new();
        for piece in pieces {
            copy.push(piece, columns, |row| {
                rows.push(row.iter().map(|value| value.map(<[u8]>::to_vec)).collect());
                Ok::<_, ProtocolError>(())
            })?;
        }
        copy.finish()?;
        Ok(rows)
    }

    proptest! {
        #[test]
        fn rows_come_out_however_the_copy_is_cut(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 3), 0..6),
            cut in 1_usize..40,
        ) {
            let bytes = encoded(&rows);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(decoded(&pieces, 3), Ok(rows));
            prop_assert!(decoded(&[&bytes[..bytes.len() - 1]], 3).is_err());
        }

        #[test]
        fn any_bytes_give_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), columns in 0_usize..4) {
            let _ = decoded(&[&bytes], columns);
            let _ = decoded(&[&encoded(&[])[..22], &bytes], columns);
        }
    }
}
