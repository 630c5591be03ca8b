// Prints what something costs the page.

/** Script, layout and style by the browser's own count, and frames by their callbacks, while `work` is under way. */
export async function cost(page, what, work) {
  const client = await page.context().newCDPSession(page);
  await client.send("Performance.enable");
  const spent = async () => {
    const { metrics } = await client.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const frame = (now) => {
      window.frames_.push(now - last);
      last = now;
      window.frame_ = requestAnimationFrame(frame);
    };
    window.frame_ = requestAnimationFrame(frame);
  });
  const before = await spent();
  const began = Date.now();
  await work();
  const seconds = (Date.now() - began) / 1000;
  const after = await spent();
  const frames = await page.evaluate(() => {
    cancelAnimationFrame(window.frame_);
    const sorted = window.frames_.slice(1).sort((a, b) => a - b);
    const [median, longest] = [sorted[sorted.length >> 1], sorted.at(-1)].map((ms) => ms.toFixed(1));
    return `${sorted.length} frames, median ${median} ms, longest ${longest} ms`;
  });
  await client.detach();
  const ms = (name) => `${((after[name] - before[name]) * 1000).toFixed(0)} ms`;
  const work_ = `script ${ms("ScriptDuration")}, layout ${ms("LayoutDuration")}, style ${ms("RecalcStyleDuration")}`;
  console.log(`${what}, ${seconds.toFixed(1)} s: ${work_}; ${frames}`);
}
