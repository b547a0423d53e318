// A short tone for whoever looks elsewhere. Off until the reader turns it on; this browser remembers.
// A browser lets a page sound only after a click or a key in it, so that is waited for.

const KEY = "sound";
const NOTES = [
  { pitch: 660, at: 0 },
  { pitch: 880, at: 0.18 },
];
const LASTS_S = 0.35;
const LOUD = 0.2;

let context = null;
let told = () => {};

function remembered() {
  try {
    return localStorage.getItem(KEY) === "on";
  } catch {
    // A browser may forbid it: then it is off at each visit.
    return false;
  }
}

let on = remembered();

export const canSound = () => "AudioContext" in window;
export const soundIsOn = () => on;
/** Whether the browser still waits for a click before it lets this page sound. */
export const soundWaits = () => on && context === null;

function unlock() {
  // Keys such as Escape do not count as leave.
  if (!on || context || !canSound() || navigator.userActivation?.hasBeenActive === false) return;
  context = new AudioContext();
  context.suspend();
  told();
}

/** Remember the choice and play the tone once for an answer; must be called from a click. */
export function turnSound(wanted) {
  on = wanted;
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // It holds for this visit.
  }
  unlock();
  if (on) chime();
}

/** Play the tone, if the reader wants it and the browser lets us. */
export async function chime() {
  if (!on || !context) return;
  await context.resume();
  for (const { pitch, at } of NOTES) {
    const start = context.currentTime + at;
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(LOUD, start);
    volume.gain.exponentialRampToValueAtTime(0.001, start + LASTS_S);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + LASTS_S);
  }
  // A context that runs keeps the machine's sound device awake.
  setTimeout(() => context.suspend(), 1000 * (LASTS_S + 1));
}

/** Use the reader's first click or key; `changed` is called when sound has become possible. */
export function waitForLeave(changed) {
  told = changed;
  for (const kind of ["click", "keydown"]) document.addEventListener(kind, unlock);
}
