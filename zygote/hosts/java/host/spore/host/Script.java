package spore.host;

import java.io.File;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import java.util.jar.Manifest;

/**
 * Runs one program as {@code java File.java args...} or {@code java -jar app.jar args...} would.
 * Returning ends the process when the program's last thread that is no daemon has ended.
 */
final class Script {
  private static final int NOT_RUN = 1;
  // What javac takes outside of the heap.
  private static final long COMPILER_MEMORY = 40 << 20;

  static void run(ClassLoader shared) throws Throwable {
    byte[] body = Native.receive(new long[2]);
    if (body == null) {
      Runtime.getRuntime().halt(125);
    }
    // From here on the process belongs to the program: no way back to the daemon stays open.
    Native.closeChannel();
    String[] arguments = null;
    Method main = null;
    try {
      Map<String, Object> load = Json.readObject(body, 0, body.length);
      body = null;
      arguments = arguments(load);
      enter(load);
      main = program(load, shared);
    } catch (Failure e) {
      end(e.getMessage());
    } catch (Json.Malformed | IOException e) {
      end("the program cannot be prepared: " + Failure.messageOf(e));
    }
    call(main, arguments);
  }

  private static void end(String message) {
    System.err.println("error: " + message);
    System.err.flush();
    Runtime.getRuntime().halt(NOT_RUN);
  }

  @SuppressWarnings("unchecked")
  private static String[] arguments(Map<String, Object> load) {
    List<String> words = (List<String>) load.get("argv");
    return words.subList(1, words.size()).toArray(new String[0]);
  }

  @SuppressWarnings("unchecked")
  private static void enter(Map<String, Object> load) {
    long memory = Long.parseLong((String) load.get("memory_limit_in_mb")) << 20;
    boolean compiles = load.get("script") != null;
    Native.limitHeap(Surroundings.heapFor(compiles ? memory - COMPILER_MEMORY : memory));
    Surroundings.setEnvironment(
        (Map<String, String>) (Map<?, ?>) load.getOrDefault("environment", Map.of()));
    Surroundings.changeDirectory("/tmp");
  }

  private static Method program(Map<String, Object> load, ClassLoader shared)
      throws Failure, IOException {
    String name = (String) ((List<?>) load.get("argv")).get(0);
    Object text = load.get("script");
    if (text != null) {
      return mainOf(SourceFile.compile(name, (String) text, shared));
    }
    return mainOfJar(name, new File((String) load.get("archive")), shared);
  }

  private static Method mainOfJar(String name, File file, ClassLoader shared)
      throws Failure, IOException {
    String mainClass = null;
    try (JarFile jar = new JarFile(file)) {
      Manifest manifest = jar.getManifest();
      if (manifest != null) {
        mainClass = manifest.getMainAttributes().getValue(Attributes.Name.MAIN_CLASS);
      }
    } catch (IOException e) {
      throw new Failure("", name + ": " + Failure.messageOf(e));
    }
    if (mainClass == null) {
      throw new Failure("", "no main manifest attribute, in " + name);
    }
    ClassLoader loader = new URLClassLoader(new URL[] {file.toURI().toURL()}, shared);
    becomeSystemLoader(loader, file.getPath());
    try {
      return mainOf(Class.forName(mainClass.trim(), false, loader));
    } catch (ClassNotFoundException | LinkageError e) {
      throw new Failure("", "could not load main class " + mainClass.trim() + ": " + e);
    }
  }

  static void becomeSystemLoader(ClassLoader loader, String classPath) {
    Native.setSystemClassLoader(loader);
    Thread.currentThread().setContextClassLoader(loader);
    System.setProperty("java.class.path", classPath);
  }

  private static Method mainOf(Class<?> type) throws Failure {
    try {
      Method main = type.getMethod("main", String[].class);
      if (Modifier.isStatic(main.getModifiers()) && main.getReturnType() == void.class) {
        main.setAccessible(true);
        return main;
      }
    } catch (NoSuchMethodException | LinkageError e) {
      // told below
    }
    throw new Failure("", "class " + type.getName() + " has no public static void main(String[])");
  }

  private static void call(Method main, String[] arguments) throws Throwable {
    try {
      main.invoke(null, (Object) arguments);
    } catch (InvocationTargetException e) {
      // The program's frames only, as if nothing had been around it; the launcher prints it.
      Throwable thrown = e.getCause();
      thrown.setStackTrace(Failure.ownFrames(thrown.getStackTrace()));
      throw thrown;
    }
  }

  private Script() {}
}
