package spore.host;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.List;

/** The class loaders above a tenant's. */
final class Loaders {
  /** The platform and the package {@code spore}; nothing else of the host. */
  private static final class ApiLoader extends ClassLoader {
    static {
      ClassLoader.registerAsParallelCapable();
    }

    ApiLoader() {
      super(ClassLoader.getPlatformClassLoader());
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      if (name.startsWith("spore.") && name.indexOf('.', 6) < 0) {
        return Host.class.getClassLoader().loadClass(name);
      }
      throw new ClassNotFoundException(name);
    }
  }

  /** What tenants share: the image's class path, or only what is below it. */
  final ClassLoader shared;

  /** @param classPath as the variable CLASSPATH has it; may be null */
  Loaders(String classPath) throws MalformedURLException {
    ClassLoader api = new ApiLoader();
    List<URL> path = new ArrayList<>();
    for (String entry : classPath == null ? new String[0] : classPath.split(File.pathSeparator)) {
      addEntry(path, entry);
    }
    shared = path.isEmpty() ? api : new URLClassLoader(path.toArray(new URL[0]), api);
  }

  private static void addEntry(List<URL> path, String entry) throws MalformedURLException {
    if (entry.isEmpty()) {
      return;
    }
    if (!entry.endsWith("/*")) {
      path.add(new File(entry).toURI().toURL());
      return;
    }
    File[] files = new File(entry.substring(0, entry.length() - 1)).listFiles();
    for (File file : files == null ? new File[0] : files) {
      if (file.getName().endsWith(".jar")) {
        path.add(file.toURI().toURL());
      }
    }
  }
}
