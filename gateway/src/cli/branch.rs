//! `tidegate branch`: list, show, diff, apply, remove.

use clap::{ArgGroup, Args, Subcommand};

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::{bytes, table};
use super::removing::Asking;
use crate::control::{
    Against, BranchApplyReport, BranchApplyRequest, BranchChange, BranchDiffPage, BranchDiffRequest,
    BranchInfo, ChangeKind, ControlError, DIFF_PAGE_MAX, ErrorKind, FilePath, OnConflict,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all branches of a share, the newest first.
    List {
        /// The share; it need not be served here.
        share: String,
    },
    /// Show one branch, and how many of its changes are clean, conflict, or are applied.
    Show {
        /// The share.
        share: String,
        /// The branch, by name or id.
        branch: String,
    },
    /// Show by path what a branch has that the share has not.
    Diff {
        /// The share.
        share: String,
        /// The branch, by name or id.
        branch: String,
        /// Only at and below this path.
        #[arg(long, default_value = "/")]
        path: FilePath,
        /// Only what both sides have changed.
        #[arg(long)]
        conflicts: bool,
    },
    /// Bring what a branch has changed into the share, all of it or some paths.
    Apply(Apply),
    /// Stop keeping a branch.
    Remove {
        /// The share.
        share: String,
        /// The branch, by name or id.
        branch: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Options of `apply`. What both sides have changed is refused, unless one of --ours, --theirs and --beside says what becomes
/// of it.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("conflict"))]
pub(super) struct Apply {
    /// The share.
    share: String,
    /// The branch, by name or id.
    branch: String,
    /// Only at and below these paths; without any: everything.
    paths: Vec<FilePath>,
    /// Of what both have changed: keep what the share has.
    #[arg(long, group = "conflict")]
    ours: bool,
    /// Of what both have changed: take what the branch has.
    #[arg(long, group = "conflict")]
    theirs: bool,
    /// Of what both have changed: put what the branch has beside, as NAME.branch-SITE-TIME.
    #[arg(long, group = "conflict")]
    beside: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobOptions,
}

fn branches_of(share: &str) -> String {
    format!("/shares/{}/branches", segment(share))
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { share } => {
            let mut branches: Vec<BranchInfo> = context.client()?.get(&branches_of(&share)).await?;
            branches.reverse();
            context.terminal.data(&branches, |branches| list(branches))
        }
        Command::Show { share, branch } => show(context, &share, &branch).await,
        Command::Diff { share, branch, path, conflicts } => {
            diff(context, &share, &branch, path, conflicts).await
        }
        Command::Apply(command) => apply(context, command).await,
        Command::Remove { share, branch, asking } => {
            let question =
                format!("What only branch {branch} of share {share} still has will be gone. Remove it?");
            asking.confirm(context, &question)?;
            let path = format!("{}/{}", branches_of(&share), segment(&branch));
            let removed: BranchInfo = context.client()?.delete(&format!("{path}{}", asking.query())).await?;
            context.terminal.data(&removed, |removed| {
                format!("branch {} ({}) {}", removed.name, removed.id, asking.verb())
            })
        }
    }
}

fn list(branches: &[BranchInfo]) -> String {
    let row = |branch: &BranchInfo| {
        [
            branch.name.clone(),
            branch.cause.clone(),
            branch.frozen.to_string(),
            branch.files.to_string(),
            bytes(branch.bytes),
            branch.id.clone(),
        ]
    };
    table(["NAME", "CAUSE", "FROZEN", "FILES", "SIZE", "ID"], &branches.iter().map(row).collect::<Vec<_>>())
}

/// A branch, and its changes counted.
#[derive(Debug, serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    branch: BranchInfo,
    clean: u64,
    conflicts: u64,
    applied: u64,
}

async fn show(context: &Context, share: &str, wanted: &str) -> Result<(), Failure> {
    let branches: Vec<BranchInfo> = context.client()?.get(&branches_of(share)).await?;
    let found = branches.into_iter().rev().find(|branch| branch.name == wanted || branch.id == wanted);
    let branch = found.ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("share {share:?} has no branch {wanted:?}"))
            .todo(format!("see `tidegate branch list {share}`"))
    })?;
    let mut shown = Shown { branch, clean: 0, conflicts: 0, applied: 0 };
    let id = shown.branch.id.clone();
    each_page(context, share, &id, FilePath::root(), |page| {
        for change in &page.changes {
            match change.against {
                Against::Clean => shown.clean += 1,
                Against::Conflict => shown.conflicts += 1,
                Against::Applied => shown.applied += 1,
            }
        }
        Ok(())
    })
    .await?;
    context.terminal.data(&shown, |shown| {
        let BranchInfo { name, id, site, cause, made, frozen, ancestor, files, bytes: length, lacks } =
            &shown.branch;
        let mut text = format!(
            "branch    {name} ({id})\ncause     {cause}{}\nmade      {made}\nfrozen    {frozen}\nleft from {}\n\
             holds     {files} files, {}\nchanges   {} clean, {} in conflict, {} that the share has already",
            if site.is_empty() { String::new() } else { format!(", by {site}") },
            ancestor.as_deref().unwrap_or("nothing that the line has"),
            bytes(*length),
            shown.clean,
            shown.conflicts,
            shown.applied,
        );
        if *lacks > 0 {
            text.push_str(&format!("\nlacks     {lacks} pieces of files, which were lost before it was made"));
        }
        text
    })
}

/// Calls `each` with every page of what a branch has changed.
async fn each_page(
    context: &Context,
    share: &str,
    branch: &str,
    path: FilePath,
    mut each: impl FnMut(&BranchDiffPage) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = context.client()?;
    let mut request = BranchDiffRequest { path, after: None, limit: DIFF_PAGE_MAX };
    loop {
        let place = format!("{}/{}/diff", branches_of(share), segment(branch));
        let page: BranchDiffPage = client.post(&place, &request).await?;
        each(&page)?;
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Shows each page as it comes, so that a long answer needs no memory; `--json` gives one document a page.
async fn diff(
    context: &Context,
    share: &str,
    branch: &str,
    path: FilePath,
    conflicts: bool,
) -> Result<(), Failure> {
    let mut shown = 0;
    each_page(context, share, branch, path, |page| {
        let mut page = page.clone();
        page.changes.retain(|change| !conflicts || change.against == Against::Conflict);
        shown += page.changes.len();
        if page.changes.is_empty() && (page.next.is_some() || shown > 0) {
            return Ok(());
        }
        context.terminal.data(&page, |page| {
            if page.changes.is_empty() { "no difference".to_owned() } else { lines(&page.changes) }
        })
    })
    .await
}

fn lines(changes: &[BranchChange]) -> String {
    let mark = |kind: ChangeKind| match kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Modified => 'M',
        ChangeKind::Attributes => 'a',
    };
    let line = |change: &BranchChange| {
        let stands = match (change.against, change.here) {
            (Against::Clean, _) => "          ".to_owned(),
            (Against::Applied, _) => "applied   ".to_owned(),
            (Against::Conflict, here) => format!("conflict {}", here.map_or('?', mark)),
        };
        format!("{} {stands} {}", mark(change.change.kind), change.change.path)
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

async fn apply(context: &Context, command: Apply) -> Result<(), Failure> {
    let Apply { share, branch, paths, ours, theirs, beside, dry_run, yes, job } = command;
    let on_conflict = match (ours, theirs, beside) {
        (true, _, _) => OnConflict::Ours,
        (_, true, _) => OnConflict::Theirs,
        (_, _, true) => OnConflict::Beside,
        (false, false, false) => OnConflict::Refuse,
    };
    let what = if paths.is_empty() { "everything".to_owned() } else { format!("{} paths", paths.len()) };
    let question = format!("What branch {branch} changed ({what}) will be in share {share}. Apply it?");
    context.terminal.confirm(yes || dry_run, &question)?;
    let request = BranchApplyRequest { paths, on_conflict, dry_run };
    let verb = if dry_run { "would put" } else { "put" };
    let people = |report: &BranchApplyReport| {
        let mut text = format!(
            "{verb} {} files ({}) in place, {} removed, {} there already, {} conflicts ({} kept as they are, {} beside)",
            report.files,
            bytes(report.bytes),
            report.removed,
            report.unchanged,
            report.conflicts,
            report.kept,
            report.beside
        );
        for path in &report.named {
            text.push_str(&format!("\nconflict: {path}"));
        }
        text
    };
    let place = format!("{}/{}/apply", branches_of(&share), segment(&branch));
    follow::run(context, job, &place, &request, people).await
}
