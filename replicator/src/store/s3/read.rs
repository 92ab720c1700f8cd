//! Reading objects, whole, in ranges and from the end, and asking about them.
//!
//! The answer is taken only up to the length that it must have: a store that sends more, or less, or
//! another range than asked for, is [`ErrorKind::Damaged`].

use std::ops::Range;
use std::time::SystemTime;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use super::S3Store;
use super::error::{status, store_error};
use crate::store::checks::{checked_range, outside};
use crate::store::deadline::within;
use crate::store::link::passage::Pace;
use crate::store::{Direction, ErrorKind, ObjectInfo, ObjectName, StorageClass, StoreError};

impl S3Store {
    pub(super) async fn get_whole(
        &self,
        name: &ObjectName,
        version: Option<&str>,
    ) -> Result<Bytes, StoreError> {
        let answer = self.ask(name, version, None, || format!("read {name}")).await?;
        let length = length_of(name, &answer)?;
        collect(name, answer, length).await
    }

    pub(super) async fn get_range(
        &self,
        name: &ObjectName,
        range: Range<u64>,
        version: Option<&str>,
    ) -> Result<Bytes, StoreError> {
        if range.start >= range.end {
            // HTTP cannot ask for nothing, and the object may be missing or shorter.
            let info = self.look_at(name, version).await?;
            return checked_range(name, Some(range), info.bytes).map(|_empty| Bytes::new());
        }
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let doing = || format!("read bytes {} to {} of {name}", range.start, range.end);
        let answer = self.ask(name, version, Some(header), doing).await?;
        let (shown, length) = content_range(name, &answer)?;
        if range.end > length {
            return Err(outside(name, &range).caused_by(format!("the object has {length} bytes")));
        }
        if shown != range {
            return Err(damaged(name, format!("asked for bytes {range:?}, the store sent {shown:?}")));
        }
        collect(name, answer, range.end - range.start).await
    }

    pub(super) async fn get_end(
        &self,
        name: &ObjectName,
        bytes: u64,
        version: Option<&str>,
    ) -> Result<(Bytes, u64), StoreError> {
        if bytes == 0 {
            return Ok((Bytes::new(), self.look_at(name, version).await?.bytes));
        }
        let doing = || format!("read the last {bytes} bytes of {name}");
        let answer = match self.ask(name, version, Some(format!("bytes=-{bytes}")), doing).await {
            // No byte of an empty object can be asked for.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                return match self.look_at(name, version).await?.bytes {
                    0 => Ok((Bytes::new(), 0)),
                    _ => Err(error),
                };
            }
            answer => answer?,
        };
        let (shown, length) = content_range(name, &answer)?;
        if shown != (length.saturating_sub(bytes)..length) {
            return Err(damaged(
                name,
                format!("asked for the last {bytes} bytes of {length}, got {shown:?}"),
            ));
        }
        Ok((collect(name, answer, shown.end - shown.start).await?, length))
    }

    pub(super) async fn look_at(
        &self,
        name: &ObjectName,
        version: Option<&str>,
    ) -> Result<ObjectInfo, StoreError> {
        let doing = || format!("look at {name}");
        let asked = async {
            let request = self.client.head_object().bucket(&self.bucket).key(self.key(name));
            let request = request.set_version_id(version.map(str::to_owned));
            match Box::pin(request.send()).await {
                // The answer to HEAD has no body, so it cannot say what is missing.
                Err(error) if status(&error) == Some(404) => Err(self.missing_or_misconfigured(name).await),
                answer => answer.map_err(|error| store_error(doing(), error)),
            }
        };
        let answer = within(self.answer_timeout * 2, doing, asked).await?;
        let bytes = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let class = answer.storage_class().and_then(|class| StorageClass::said(class.as_str()));
        let modified = answer.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        match (bytes, modified) {
            (Some(bytes), Some(modified)) => Ok(ObjectInfo { name: name.clone(), bytes, modified, class }),
            _ => Err(damaged(name, "the store tells neither length nor time".to_owned())),
        }
    }

    /// Sends a GET and waits for the head of the answer.
    async fn ask(
        &self,
        name: &ObjectName,
        version: Option<&str>,
        range: Option<String>,
        doing: impl Fn() -> String + Send + Sync,
    ) -> Result<GetObjectOutput, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.key(name)).set_range(range);
        let request = request.set_version_id(version.map(str::to_owned));
        let asked = async {
            request.send().await.map_err(|error| match &error {
                SdkError::ServiceError(service) if service.err().is_no_such_key() => {
                    StoreError::new(ErrorKind::Missing, format!("find {name}"))
                }
                _ => store_error(doing(), error),
            })
        };
        within(self.answer_timeout, &doing, asked).await
    }
}

/// Takes exactly `length` bytes of the body, at the pace of the link: what is not taken yet the network holds back.
async fn collect(name: &ObjectName, answer: GetObjectOutput, length: u64) -> Result<Bytes, StoreError> {
    let (mut body, pace) = (answer.body, Pace::current());
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            StoreError::new(ErrorKind::Transient, format!("read {name} to its end")).caused_by(error)
        })?;
        if (whole.len() + piece.len()) as u64 > length {
            return Err(damaged(
                name,
                format!("the store sent more than the {length} bytes that it announced"),
            ));
        }
        pace.moves(Direction::Down, piece.len() as u64).await;
        if whole.is_empty() && piece.len() as u64 == length {
            return Ok(piece);
        }
        whole.extend_from_slice(&piece);
    }
    if whole.len() as u64 == length {
        Ok(whole.freeze())
    } else {
        Err(damaged(name, format!("the store sent {} of {length} bytes", whole.len())))
    }
}

/// Which bytes an answer holds, and how many the object has. An answer without a range holds all.
fn content_range(name: &ObjectName, answer: &GetObjectOutput) -> Result<(Range<u64>, u64), StoreError> {
    let Some(header) = answer.content_range() else {
        let length = length_of(name, answer)?;
        return Ok((0..length, length));
    };
    parse_content_range(header).ok_or_else(|| damaged(name, format!("the store sent the range {header:?}")))
}

/// `bytes 5-9/20` is 5..10 of 20 (RFC 9110, section 14.4).
fn parse_content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, length) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    let (first, length) = (first.parse().ok()?, length.parse().ok()?);
    (first < end && end <= length).then_some((first..end, length))
}

fn length_of(name: &ObjectName, answer: &GetObjectOutput) -> Result<u64, StoreError> {
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| damaged(name, "the store tells no length".to_owned()))
}

fn damaged(name: &ObjectName, why: String) -> StoreError {
    StoreError::new(ErrorKind::Damaged, format!("read {name}")).caused_by(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_answers_are_read_strictly() {
        assert_eq!(parse_content_range("bytes 5-9/20"), Some((5..10, 20)));
        assert_eq!(parse_content_range("bytes 0-0/1"), Some((0..1, 1)));
        for wrong in ["", "bytes */20", "bytes 5-9/*", "bytes 9-5/20", "bytes 5-20/20", "5-9/20", "bytes 5-9"]
        {
            assert_eq!(parse_content_range(wrong), None, "{wrong}");
        }
        assert_eq!(parse_content_range(&format!("bytes 0-{}/5", u64::MAX)), None);
    }
}
