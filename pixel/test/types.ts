/* What a project that knows the pixel's types may write, and may not: checked by the compiler, never run. */
import "../evothesis";

evothesis("track", "signup", { plan: "pro", seats: 3, of: ["a", { b: null }] });
evothesis("track", "slide_shown", {}, true);
evothesis("page");
evothesis("page", { section: "help" });
evothesis("consent", { analytics: null });
window.evothesis.consent({ analytics: false, source: "banner" });

interface Plan {
  plan: string;
  seats: number;
}
const plan: Plan = { plan: "pro", seats: 3 };
evothesis("track", "signup", plan);

// @ts-expect-error there is no such command
evothesis("identify", "somebody");
// @ts-expect-error an event has a name
evothesis("track", { plan: "pro" });
// @ts-expect-error a consent says yes, no, or not yet
evothesis("consent", { analytics: "yes" });
