package spore.host;

import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The class loaders above a tenant's. */
final class Loaders {
  /**
   * The platform, every other module of the runtime (the compiler is one), and the package {@code
   * spore}; nothing else of the host. Its parent is the host's loader because that is the modules'
   * too, and ServiceLoader follows parents to find them.
   */
  private static final class ApiLoader extends ClassLoader {
    static {
      ClassLoader.registerAsParallelCapable();
    }

    private final ClassLoader platform = ClassLoader.getPlatformClassLoader();
    private final Set<String> packages = new HashSet<>(); // that are the parent's to give

    ApiLoader(ClassLoader host) {
      super(host);
      packages.add("spore");
      for (Module module : ModuleLayer.boot().modules()) {
        if (module.getClassLoader() == host) {
          packages.addAll(module.getPackages());
        }
      }
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
      int dot = name.lastIndexOf('.');
      boolean given = dot > 0 && packages.contains(name.substring(0, dot));
      return (given ? getParent() : platform).loadClass(name);
    }

    @Override
    public URL getResource(String name) {
      return platform.getResource(name);
    }

    @Override
    public Enumeration<URL> getResources(String name) throws IOException {
      return platform.getResources(name);
    }
  }

  /** What tenants share: the image's class path, or only what is below it. */
  final ClassLoader shared;

  private final Set<String> packages = new HashSet<>(); // of all modules, and the package spore
  private final boolean hasClassPath;

  /** @param classPath as the variable CLASSPATH has it; may be null */
  Loaders(String classPath) throws MalformedURLException {
    ClassLoader api = new ApiLoader(Host.class.getClassLoader());
    List<URL> path = new ArrayList<>();
    for (String entry : classPath == null ? new String[0] : classPath.split(File.pathSeparator)) {
      addEntry(path, entry);
    }
    hasClassPath = !path.isEmpty();
    shared = hasClassPath ? new URLClassLoader(path.toArray(new URL[0]), api) : api;
    packages.add("spore");
    for (Module module : ModuleLayer.boot().modules()) {
      packages.addAll(module.getPackages());
    }
  }

  /** False when no module and no class path of the image has a package for a class of that name. */
  boolean mayHave(String name) {
    int dot = name.lastIndexOf('.');
    return hasClassPath || dot > 0 && packages.contains(name.substring(0, dot));
  }

  /** Whether the image's class path, or a module of the runtime, has given a class of that name. */
  boolean hasLoaded(String name) {
    return Native.isLoaded(shared, name)
        || Native.isLoaded(ClassLoader.getPlatformClassLoader(), name)
        || Native.isLoaded(Host.class.getClassLoader(), name);
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
