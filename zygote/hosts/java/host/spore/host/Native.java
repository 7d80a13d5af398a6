package spore.host;

/** What the host needs from below (module.cc). */
final class Native {
  /**
   * Freezes the process and serves fork orders; returns only in copies: null in a child, not yet
   * confined; in one that is to be a zygote itself, what that shall load before it calls this again.
   * The last two are bodies of frames, for a rehearsal.
   */
  static native String serveForks(String version, long preloadMicros, byte[] load, byte[] invoke);

  /** Waits for the tenant; confined for good, and whole again, when it returns the mode. */
  static native int awaitTenant();

  static native void reportUnready(String reason);

  /** Finds what the methods below will set: once, in the image's zygote. */
  static native void prepare();

  /** Empties what holds randomness, and notes whose is to be renewed: last thing in a zygote. */
  static native void noteThreads(Thread[] threads);

  /** Completes what made this process's randomness and identity its own; throws if it is not. */
  static native void renew();

  /**
   * Lets the heap grow to so many bytes and no further; false where that cannot be done. In the
   * zygote it does nothing.
   */
  static native boolean limitHeap(long bytes);

  /** The next frame's body, its type and id in {@code header}; null when the daemon is gone. */
  static native byte[] receive(long[] header);

  static native boolean send(int type, long id, byte[] body);

  /**
   * Says that loading is done, and when it began; goes out with the next {@link #send}. {@code
   * imported} is a JSON array of the classes asked after that are loaded; null: none were.
   */
  static native void queueLoaded(long beganNanos, byte[] imported);

  /** Whether that very loader has defined, or was the first to be asked for, such a class. */
  static native boolean isLoaded(ClassLoader loader, String name);

  /** A file's content; null when it cannot be read. */
  static native byte[] readFile(String path);

  static native void closeChannel();

  /** Sets variables for this process, native code and System.getenv alike: name, value, name, ... */
  static native void setEnvironment(byte[][] namesAndValues);

  /** The working directory of the process, and what java.io.File takes for it. */
  static native void changeDirectory(String path);

  /** What ClassLoader.getSystemClassLoader() answers. In the zygote it does nothing. */
  static native void setSystemClassLoader(ClassLoader loader);

  /** The types of a method with what they are types of, as class files have them; null: plain ones. */
  static native String signatureOf(java.lang.reflect.Method method);

  private Native() {}
}
