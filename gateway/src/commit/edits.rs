//! Edits: the frozen changes of a map as the tree wants them, sorted, with chunks for journal pieces.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures::Stream;
use tidegate_replicator::map::{Extent, InodeNumber, Key, Source};
use tidegate_replicator::tree::{Edit, TreeError, Value};

use super::drain::Runs;
use super::frozen::Frozen;
use crate::share::ShareError;

/// The edits that lead from the base to the frozen map, page by page. Ranges are not among them.
pub(super) fn edits<'a>(
    frozen: &'a Frozen<'a>,
    runs: &'a Runs,
) -> impl Stream<Item = Result<Edit, TreeError>> + Send + Unpin + 'a {
    let state = Pages { frozen, runs, from: Vec::new(), ready: VecDeque::new() };
    Box::pin(futures::stream::try_unfold(state, |mut state| async move {
        let next = state.next().map_err(|error| TreeError::source("read changed keys", error))?;
        Ok(next.map(|edit| (edit, state)))
    }))
}

struct Pages<'a> {
    frozen: &'a Frozen<'a>,
    runs: &'a Runs,
    from: Vec<u8>,
    ready: VecDeque<Edit>,
}

impl Pages<'_> {
    fn next(&mut self) -> Result<Option<Edit>, ShareError> {
        while self.ready.is_empty() {
            let page = self.frozen.changed_page(&self.from)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            self.from = [&last.encode()[..], &[0]].concat();
            self.ready = edits_of_page(page, self.runs)?;
        }
        Ok(self.ready.pop_front())
    }
}

/// The edits of a page, which holds all changed extents of each file of which it holds any.
fn edits_of_page(page: Vec<(Key, Option<Value>)>, runs: &Runs) -> Result<VecDeque<Edit>, ShareError> {
    let mut edits: BTreeMap<Vec<u8>, Option<Value>> = BTreeMap::new();
    let mut files: Vec<InodeNumber> = Vec::new();
    for (key, value) in page {
        let Key::Extent(file, end) = key else {
            edits.insert(key.encode(), value);
            continue;
        };
        if files.last() != Some(&file) {
            files.push(file);
        }
        // A piece of the journal becomes chunks with its run, below.
        let kept = match &value {
            Some(value) => !matches!(Extent::from_value(end, value)?.source, Source::Journal(_)),
            None => false,
        };
        edits.insert(key.encode(), value.filter(|_| kept));
    }
    for file in files {
        for run in runs.get(&file).into_iter().flatten() {
            for source in &run.sources {
                edits.insert(Key::Extent(file, source.end).encode(), None);
            }
            for extent in run.extents() {
                edits.insert(Key::Extent(file, extent.end).encode(), Some(extent.to_value()));
            }
        }
    }
    Ok(edits.into_iter().map(edit).collect())
}

fn edit((key, value): (Vec<u8>, Option<Value>)) -> Edit {
    match value {
        Some(value) => Edit::Put(Bytes::from(key), value),
        None => Edit::Delete(Bytes::from(key)),
    }
}
