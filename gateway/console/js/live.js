// Asking again and again: at a pace, slower while nothing answers, not at all while nobody looks.

const PAUSE_MAX = 60_000;

/** Loads now and then every so many milliseconds. `told(data)` or `failed(error, pause)` after each. */
export class Live {
  constructor(load, every, told, failed) {
    Object.assign(this, { load, every, told, failed });
    this.pause = every;
    this.stopped = false;
    this.turn = 0;
    this.onSight = () => { if (!document.hidden) this.now(); };
    document.addEventListener("visibilitychange", this.onSight);
  }

  /** Loads at once, whatever was planned. Resolves when it has. */
  async now() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    const isOld = () => this.stopped || turn !== this.turn;
    try {
      const data = await this.load();
      if (isOld()) return;
      this.pause = this.every;
      this.told(data);
    } catch (error) {
      if (isOld()) return;
      this.pause = Math.min(PAUSE_MAX, this.pause * 2);
      this.failed(error, this.pause);
    }
    if (!document.hidden) this.timer = setTimeout(() => this.now(), this.pause);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onSight);
  }
}
