// What can be done with a share and its snapshots, each behind a question.

import { ended, path, post, remove } from "../api.js";
import { failed, note } from "../announce.js";
import { h } from "../dom.js";
import { absolute } from "../format.js";
import { ask, field } from "../parts/dialog.js";
import { progress } from "../parts/gauge.js";
import { t } from "../words.js";

/** Publishes what waits. */
export async function commit(share, refresh) {
  try {
    await ended(await post(`${path("shares", share)}/commit`));
    note("good", t("share.committed", { share }));
  } catch (error) {
    failed(error);
  }
  refresh();
}

export function takeSnapshot(share, refresh) {
  ask({
    title: t("snapshot.take.title", { share }), verb: t("snapshot.take"), state: { name: "", job: null },
    body: (state) => [
      field(t("snapshot.name"), { value: state.name, maxlength: 180, hint: t("snapshot.name.hint"),
        on: { input: (event) => { state.name = event.target.value; } } }),
      state.job && progress(state.job),
    ],
    act: async (state, redraw) => {
      const job = await post(`${path("shares", share)}/snapshots`, state.name ? { name: state.name } : {});
      await ended(job, (seen) => { state.job = seen; redraw(); });
      note("good", t("snapshot.taken", { share }));
      refresh();
    },
  });
}

export function forget(share, snapshot, refresh) {
  ask({
    title: t("snapshot.forget.title", { name: snapshot.name }), verb: t("snapshot.forget"), danger: true,
    body: () => h("p", {}, t("snapshot.forget.text", { time: absolute(snapshot.frozen) })),
    act: async () => {
      const removed = await remove(`${path("shares", share)}${path("snapshots", snapshot.id)}`);
      note("good", removed.bin_until
        ? t("snapshot.binned", { name: snapshot.name, time: absolute(removed.bin_until) })
        : t("snapshot.forgotten", { name: snapshot.name }));
      refresh();
    },
  });
}

/** Brings a snapshot back out of the bin; under another name where its own is taken. */
export function bringBack(share, entry, refresh) {
  ask({
    title: t("bin.restore.title", { name: entry.name }), verb: t("bin.restore"), state: { name: "" },
    body: (state) => field(t("snapshot.name"), { value: state.name, maxlength: 180, hint: t("bin.restore.hint"),
      on: { input: (event) => { state.name = event.target.value; } } }),
    act: async (state) => {
      const back = await post(`${path("shares", share)}${path("bin", entry.id)}/restore`,
        state.name ? { name: state.name } : {});
      note("good", t("bin.restored", { name: back.name }));
      refresh();
    },
  });
}

/** Ends a snapshot in the bin before its time. */
export function endInBin(share, entry, refresh) {
  ask({
    title: t("bin.end.title", { name: entry.name }), verb: t("bin.end"), danger: true,
    body: () => h("p", {}, t("bin.end.text", { time: absolute(entry.frozen) })),
    act: async () => {
      await remove(`${path("shares", share)}${path("bin", entry.id)}`);
      note("good", t("snapshot.forgotten", { name: entry.name }));
      refresh();
    },
  });
}

export function rollBack(share, snapshot, refresh) {
  ask({
    title: t("snapshot.rollback.title", { share }), verb: t("snapshot.rollback"), danger: true, type: share,
    state: { job: null },
    body: (state) => [
      h("p", {}, t("snapshot.rollback.text", { time: absolute(snapshot.frozen) })),
      state.job && progress(state.job),
    ],
    act: async (state, redraw) => {
      const job = await post(`${path("shares", share)}/rollback`, { to: `snapshot:${snapshot.id}` });
      await ended(job, (seen) => { state.job = seen; redraw(); });
      note("good", t("snapshot.rolled.back", { share }));
      refresh();
    },
  });
}
