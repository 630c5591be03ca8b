// Bounds what xterm.js does for a few bytes of a program's. It repeats, scrolls and inserts as often as a number says that
// it was sent, within one turn of the browser: a billion is minutes in which the page hears nobody. It has no options for
// that, so this uses parts that its typings do not have; the package's version is pinned, and a test of the page sees that
// each of them still holds.

/** Marks over and under one letter. Drawing takes time by the square of their number. */
const MOST_MARKS = 16;
/** Links that programs mark in one terminal (OSC 8): each costs about two kilobytes while it is in the scrollback. */
const MOST_LINKS = 20_000;
/** The longest of them, in characters; longer ones no browser opens. */
const LONGEST_LINK = 4096;
/** The longest of a list of colours (OSC 4): all 256. xterm takes time by the square of its length. */
const LONGEST_LIST = 16_384;

export const bounds = {
  /** For one terminal, before it is written to. */
  keep(terminal) {
    const core = terminal._core;
    // What each does changes nothing any more when it is done once for each column or line: REP, CHT and CBT; SU, SD, IL and
    // DL. xterm's own handler comes next, and finds the smaller number.
    const limits = { b: "cols", I: "cols", Z: "cols", S: "rows", T: "rows", L: "rows", M: "rows" };
    for (const [final, limit] of Object.entries(limits)) {
      core.registerCsiHandler({ final }, (parameters) => {
        parameters.params[0] = Math.min(parameters.params[0], terminal[limit]);
        return false;
      });
    }

    // A handler that returns true is the last: xterm makes nothing of the sequence then.
    let links = 0;
    terminal.parser.registerOscHandler(8, (data) => {
      const opens = !data.endsWith(";");
      links += opens ? 1 : 0;
      return opens && (links > MOST_LINKS || data.length > LONGEST_LINK);
    });
    terminal.parser.registerOscHandler(4, (data) => data.length > LONGEST_LIST);

    // All lines have one prototype, whichever terminal they are in.
    const lines = Object.getPrototypeOf(core.buffer.lines.get(0));
    if (!Object.hasOwn(lines, "isBounded")) {
      const add = lines.addCodepointToCell;
      lines.isBounded = true;
      lines.addCodepointToCell = function (column, character, width) {
        // The letter itself may be two code units.
        if (!this.isCombined(column) || this.getString(column).length < MOST_MARKS + 2) {
          add.call(this, column, character, width);
        }
      };
    }
  },
};
