package spore.host;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.security.CodeSource;
import java.security.ProtectionDomain;
import java.security.cert.Certificate;
import java.util.Arrays;
import java.util.Enumeration;

/**
 * The tenant's classes: those in the folder, then its jars, then lib/*.jar, in the order of their
 * names. Its parents are the image's class path, the package {@code spore}, and the platform; the
 * host's own classes cannot be seen.
 */
final class TaskLoader extends URLClassLoader {
  static {
    ClassLoader.registerAsParallelCapable();
  }

  private static final ClassLoader PLATFORM = ClassLoader.getPlatformClassLoader();
  private static final String VERSIONS = "META-INF/versions";
  // Where functions lie; made once, in the zygote.
  private static final CodeSource TASK_SOURCE = source(Host.TASK_ROOT);

  private final Loaders loaders;
  private final ProtectionDomain domain;
  private String root; // ends in "/"; null: not entered
  private boolean folderFirst;
  private boolean complete; // the class path has been made

  /** Can load nothing before {@link #enter}, so a zygote can have one ready. */
  TaskLoader(Loaders loaders) {
    super(new URL[0], loaders.shared);
    this.loaders = loaders;
    // One for all, and not by way of URLClassLoader, which opens a connection to ask for permissions.
    this.domain = new ProtectionDomain(TASK_SOURCE, null, this, null);
  }

  void enter(String folder) {
    root = folder + "/";
    folderFirst = !new File(folder, VERSIONS).isDirectory();
  }

  private static CodeSource source(String folder) {
    try {
      return new CodeSource(new URL("file", "", folder + "/"), (Certificate[]) null);
    } catch (MalformedURLException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Looking into folders and making URLs takes long, and a function without jars needs neither. */
  private synchronized void complete() {
    if (complete || root == null) {
      return;
    }
    complete = true;
    try {
      addVersions();
      addURL(new URL("file", "", root));
      addJars(root);
      addJars(root + "lib/");
    } catch (MalformedURLException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A jar with classes for newer releases (JEP 238) has been unpacked: its folders go first. */
  private void addVersions() throws MalformedURLException {
    if (folderFirst || !isMultiRelease(root)) {
      return;
    }
    for (int release = Runtime.version().feature(); release >= 9; release--) {
      String folder = root + VERSIONS + "/" + release;
      if (new File(folder).isDirectory()) {
        addURL(new URL("file", "", folder + "/"));
      }
    }
  }

  private static boolean isMultiRelease(String root) {
    try (FileInputStream in = new FileInputStream(root + "META-INF/MANIFEST.MF")) {
      String value = new java.util.jar.Manifest(in).getMainAttributes().getValue("Multi-Release");
      return "true".equalsIgnoreCase(value);
    } catch (IOException e) {
      return false;
    }
  }

  private void addJars(String folder) throws MalformedURLException {
    String[] names = new File(folder).list();
    if (names == null) {
      return;
    }
    Arrays.sort(names);
    for (String name : names) {
      if (name.endsWith(".jar")) {
        addURL(new File(folder, name).toURI().toURL());
      }
    }
  }

  /**
   * Parents first, as ever, by shorter ways: only the platform has classes of java.*, and for packages
   * of no module each parent would throw an exception to say so. They are asked all the same for what is
   * not here: an image's options may have put more on the platform's class path.
   */
  @Override
  protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
    if (name.startsWith("java.")) {
      return PLATFORM.loadClass(name);
    }
    if (loaders.mayHave(name)) {
      return super.loadClass(name, resolve);
    }
    synchronized (getClassLoadingLock(name)) {
      Class<?> loaded = findLoadedClass(name);
      if (loaded != null) {
        return loaded;
      }
      try {
        return findClass(name);
      } catch (ClassNotFoundException e) {
        return getParent().loadClass(name);
      }
    }
  }

  /** A class that lies in the folder is read directly: a fraction of what the long way takes. */
  @Override
  protected Class<?> findClass(String name) throws ClassNotFoundException {
    if (folderFirst) {
      byte[] bytes = Native.readFile(root + name.replace('.', '/') + ".class");
      if (bytes != null) {
        return defineClass(name, bytes, 0, bytes.length, domain);
      }
    }
    complete();
    return super.findClass(name);
  }

  @Override
  public URL findResource(String name) {
    complete();
    return super.findResource(name);
  }

  @Override
  public Enumeration<URL> findResources(String name) throws IOException {
    complete();
    return super.findResources(name);
  }

  @Override
  public URL[] getURLs() {
    complete();
    return super.getURLs();
  }
}
