package spore.host;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Waits for what HotSpot does later: what the zygote leaves undone, every child does. */
final class Quiet {
  // HotSpot's periodic task gives the compilers' memory back, every 5 s (ChunkPoolCleaner).
  private static final String PERIODIC = "VM Periodic Tas";
  private static final String COMPILERS = "C[12] CompilerThre";
  private static final long MOST_MILLIS = 7_000;
  private static final int STEP_MILLIS = 20;

  /** Returns when the periodic thread has run once more, or would have long ago. */
  static void awaitPeriodicWork() {
    String before = switches(PERIODIC);
    if (before.isEmpty()) {
      return; // no such thread, no such work
    }
    long end = System.currentTimeMillis() + MOST_MILLIS;
    while (switches(PERIODIC).equals(before) && System.currentTimeMillis() < end && pause()) {}
  }

  /** Returns when the compilers have nothing left to do; what they have done so far, for comparison. */
  static String awaitCompilers() {
    long end = System.currentTimeMillis() + MOST_MILLIS;
    String before;
    String now = switches(COMPILERS);
    do {
      before = now;
      pause();
      now = switches(COMPILERS);
    } while (!now.equals(before) && System.currentTimeMillis() < end);
    return now;
  }

  private static boolean pause() {
    try {
      Thread.sleep(STEP_MILLIS);
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** How often each thread of such a name has gone to sleep, in the order of their ids. */
  private static String switches(String name) {
    StringBuilder found = new StringBuilder();
    try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
      for (Path thread : threads) {
        if (!Files.readString(thread.resolve("comm")).trim().matches(name)) {
          continue;
        }
        for (String line : Files.readAllLines(thread.resolve("status"))) {
          if (line.startsWith("voluntary_ctxt_switches")) {
            found.append(thread).append(line);
          }
        }
      }
    } catch (IOException e) {
      // one that has just ended; the next look is without it
    }
    return found.toString();
  }

  private Quiet() {}
}
