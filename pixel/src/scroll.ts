const MILESTONES = [25, 50, 75, 100];

/** Which milestones a page has passed, each once. */
export class ScrollDepth {
  private reached = 0;

  /** The milestones that are new when the lower edge of the window is `bottom` pixels down a page of `height`. */
  pass(bottom: number, height: number): number[] {
    // A pixel is given away: zoomed pages end at a fraction of one.
    const percent = height > 0 ? ((bottom + 1) / height) * 100 : 0;
    const passed = MILESTONES.filter((milestone) => milestone > this.reached && milestone <= percent);
    this.reached = Math.max(this.reached, ...passed);
    return passed;
  }
}
