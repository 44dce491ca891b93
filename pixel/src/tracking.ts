import { click } from "./clicks";
import { Outbox } from "./outbox";
import { pageView } from "./page_view";
import { ScrollDepth } from "./scroll";
import { objects } from "./signals";

const RUNNING = "evothesisRunning";

/** Watch this page, unless the visitor objects or it is being watched already. */
function start(): void {
  // Before any storage is touched.
  if (objects()) return;
  const page = window as unknown as Record<string, unknown>;
  if (page[RUNNING]) return;
  page[RUNNING] = true;

  const outbox = new Outbox(endpoint());
  outbox.beginPageView();
  outbox.add("page_view", pageView(location.href));
  watchClicks(outbox);
  watchScroll(outbox);
  // Firefox loses what is sent in several requests at exit; the first of the two events sends, the other finds nothing.
  addEventListener("pagehide", safely(() => { outbox.flushAtExit(); }));
  document.addEventListener("visibilitychange", safely(() => {
    if (document.visibilityState === "hidden") outbox.flushAtExit();
    else outbox.comeBack();
  }));
  addEventListener("pageshow", safely((event: PageTransitionEvent) => {
    if (event.persisted) outbox.comeBack();
  }));
}

/** The collector is where the script came from. */
function endpoint(): string {
  const script = document.currentScript as HTMLScriptElement | null;
  return new URL("/collect", script?.src ?? location.href).href;
}

function watchClicks(outbox: Outbox): void {
  const watch = safely((event: Event) => {
    // A right click opens a menu; the middle button opens a link.
    const button = (event as MouseEvent).button;
    if (event.target instanceof Element && (button === 0 || button === 1)) outbox.add("click", click(event.target));
  });
  addEventListener("click", watch, true);
  addEventListener("auxclick", watch, true);
}

function watchScroll(outbox: Outbox): void {
  const depth = new ScrollDepth();
  let pending = false;
  const look = safely(() => {
    pending = false;
    const page = document.documentElement;
    // A page that fits the window was never scrolled.
    if (page.scrollHeight <= innerHeight) return;
    for (const percent of depth.pass(scrollY + innerHeight, page.scrollHeight)) {
      outbox.add("scroll_depth", { percent });
    }
  });
  addEventListener("scroll", () => {
    // Sizes are read in the frame that draws them anyway, so that reading them costs no layout.
    if (!pending) requestAnimationFrame(look);
    pending = true;
  }, { passive: true, capture: true });
}

/** A handler whose failure is nobody's but ours. */
function safely<A extends unknown[]>(handler: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try {
      handler(...args);
    } catch {
      // Whatever fails in here must not show on the page.
    }
  };
}

safely(start)();
