package spore.host;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Waits for what HotSpot does later: what the zygote leaves undone, every child does. */
final class Quiet {
  // HotSpot's periodic task gives the compilers' memory back, every 5 s (ChunkPoolCleaner).
  private static final String PERIODIC = "VM Periodic Tas";
  private static final long MOST_MILLIS = 7_000;

  /** Returns when the periodic thread has run once more, or would have long ago. */
  static void await() {
    try {
      Path thread = periodicThread();
      if (thread == null) {
        return;
      }
      String before = switches(thread);
      long end = System.currentTimeMillis() + MOST_MILLIS;
      while (switches(thread).equals(before) && System.currentTimeMillis() < end) {
        Thread.sleep(20);
      }
    } catch (IOException e) {
      // no such thread, no such work
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static Path periodicThread() throws IOException {
    try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
      for (Path thread : threads) {
        if (Files.readString(thread.resolve("comm")).trim().equals(PERIODIC)) {
          return thread;
        }
      }
    }
    return null;
  }

  private static String switches(Path thread) throws IOException {
    for (String line : Files.readAllLines(thread.resolve("status"))) {
      if (line.startsWith("voluntary_ctxt_switches")) {
        return line;
      }
    }
    return "";
  }

  private Quiet() {}
}
