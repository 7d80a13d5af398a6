package spore.host;

/** What the host needs from below (module.cc). */
final class Native {
  /**
   * Freezes the process and serves fork orders; returns only in a child, not yet confined. The last
   * two are bodies of frames, for a rehearsal.
   */
  static native void serveForks(String version, long preloadMicros, byte[] load, byte[] invoke);

  /** Waits for the tenant; confined for good, and whole again, when it returns the mode. */
  static native int awaitTenant();

  static native void reportUnready(String reason);

  /** Finds what the methods below will set: once, in the zygote. */
  static native void prepare();

  /** Empties what holds randomness, and notes whose is to be renewed: last thing in the zygote. */
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

  /** Says that loading is done, and when it began; goes out with the next {@link #send}. */
  static native void queueLoaded(long beganNanos);

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
