package spore.host;

import java.lang.reflect.InvocationTargetException;

/**
 * The Java host: the zygote of an image, and in its children the instance.
 *
 * <p>Run by the image's own java. Until serveForks returns, this is the zygote: only classes that
 * the image's operator listed have run. It returns in copies. One may be told to load more, a library
 * set of that list, and be a zygote too. Any other is a child in a sandbox of its own: when
 * awaitTenant has returned it is confined for good, and about to run a tenant's code.
 */
public final class Host {
  private static final String DIRECTORY = "/run/spore/host/java";
  static final String TASK_ROOT = "/var/task";
  private static final int MODE_FUNCTION = 1;

  private Host() {}

  public static void main(String[] args) throws Throwable {
    long started = System.nanoTime();
    String directory = System.getProperty("spore.host.directory", DIRECTORY);
    System.clearProperty("spore.host.directory");
    System.load(directory + "/libspore_java.so");
    Loaders loaders = new Loaders(System.getenv("CLASSPATH"));
    FunctionServer server = new FunctionServer(loaders);
    preload(args.length > 0 ? args[0] : "", loaders.shared);
    try {
      Native.prepare();
      WarmUp.run(loaders, directory);
      settle();
      String more = freeze(System.nanoTime() - started, directory);
      while (more != null) {
        more = freeze(more.isEmpty() ? 0 : extend(more, loaders, directory), directory);
      }
    } catch (Failure | RuntimeException e) {
      endUnready(e.getMessage());
    }
    int mode = Native.awaitTenant();
    Native.renew();
    if (mode == MODE_FUNCTION) {
      server.serve();
    } else {
      Script.run(loaders.shared);
    }
  }

  /** Leaves all as every child is to find it. */
  private static void settle() {
    System.gc(); // else what nobody holds any more would be renewed too
    Native.noteThreads(Thread.getAllStackTraces().keySet().toArray(new Thread[0]));
    System.gc();
    Quiet.awaitPeriodicWork();
  }

  /** What {@link Native#serveForks} returns. */
  private static String freeze(long tookNanos, String directory) {
    return Native.serveForks(
        Runtime.version().toString(),
        tookNanos / 1000,
        WarmUp.rehearsalLoad(directory),
        WarmUp.rehearsalEvent());
  }

  /**
   * In a copy that is to be a zygote itself, of a library set: none of a tenant's code has been
   * near. Returns what loading took, in nanoseconds.
   */
  private static long extend(String classes, Loaders loaders, String directory) throws Failure {
    long began = System.nanoTime();
    preload(classes, loaders.shared);
    long took = System.nanoTime() - began;
    // More classes may have undone what was compiled for fewer.
    WarmUp.settle(loaders, directory);
    settle();
    return took;
  }

  /** Initialises each class of the list "a.B,c.D::method", and calls the methods: warm-up hooks. */
  private static void preload(String list, ClassLoader loader) {
    Thread.currentThread().setContextClassLoader(loader);
    for (String entry : list.split(",")) {
      if (entry.isEmpty()) {
        continue;
      }
      int colons = entry.indexOf("::");
      try {
        Class<?> type = Class.forName(colons < 0 ? entry : entry.substring(0, colons), true, loader);
        if (colons >= 0) {
          type.getMethod(entry.substring(colons + 2)).invoke(null);
        }
      } catch (InvocationTargetException e) {
        endUnready("preload " + entry + ": " + e.getCause());
      } catch (Throwable e) { // an initializer may throw anything
        endUnready("preload " + entry + ": " + e);
      }
    }
  }

  /** An image that cannot keep its promise says so and ends. */
  private static void endUnready(String reason) {
    Native.reportUnready(reason);
    Runtime.getRuntime().halt(1);
  }
}
