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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The tenant's classes: those in the folder, then its jars, then lib/*.jar, in the order of their
 * names. Its parents are the image's class path, the package {@code spore}, and the platform; the
 * host's own classes cannot be seen.
 */
final class TaskLoader extends URLClassLoader {
  static {
    ClassLoader.registerAsParallelCapable();
  }

  private final String root;
  private final boolean folderFirst;
  private final ProtectionDomain domain;

  TaskLoader(String root, ClassLoader parent) throws MalformedURLException {
    this(root, classPath(root), parent);
  }

  private TaskLoader(String root, URL[] path, ClassLoader parent) {
    super(path, parent);
    this.root = root + "/";
    this.folderFirst = path[0].getPath().equals(this.root);
    // One for all, and not by way of URLClassLoader, which opens a connection to ask for permissions.
    CodeSource source = new CodeSource(path[path.length - 1], (Certificate[]) null);
    this.domain = new ProtectionDomain(source, null, this, null);
  }

  private static URL[] classPath(String root) throws MalformedURLException {
    List<URL> path = new ArrayList<>();
    URL folder = new URL("file", "", root + "/");
    addVersions(path, root);
    path.add(folder);
    addJars(path, root);
    addJars(path, root + "/lib");
    path.add(folder); // again: the last is what the classes' protection domain names
    return path.toArray(new URL[0]);
  }

  /** A jar with classes for newer releases (JEP 238) has been unpacked: its folders go first. */
  private static void addVersions(List<URL> path, String root) throws MalformedURLException {
    if (!new File(root, "META-INF/versions").isDirectory() || !isMultiRelease(root)) {
      return;
    }
    for (int release = Runtime.version().feature(); release >= 9; release--) {
      String folder = root + "/META-INF/versions/" + release;
      if (new File(folder).isDirectory()) {
        path.add(new URL("file", "", folder + "/"));
      }
    }
  }

  private static boolean isMultiRelease(String root) {
    try (FileInputStream in = new FileInputStream(root + "/META-INF/MANIFEST.MF")) {
      String value = new java.util.jar.Manifest(in).getMainAttributes().getValue("Multi-Release");
      return "true".equalsIgnoreCase(value);
    } catch (IOException e) {
      return false;
    }
  }

  private static void addJars(List<URL> path, String folder) throws MalformedURLException {
    String[] names = new File(folder).list();
    if (names == null) {
      return;
    }
    Arrays.sort(names);
    for (String name : names) {
      if (name.endsWith(".jar")) {
        path.add(new File(folder, name).toURI().toURL());
      }
    }
  }

  /** A class that lies in the folder is read directly: a fraction of what the long way takes. */
  @Override
  protected Class<?> findClass(String name) throws ClassNotFoundException {
    if (folderFirst) {
      byte[] bytes = readClass(root + name.replace('.', '/') + ".class");
      if (bytes != null) {
        return defineClass(name, bytes, 0, bytes.length, domain);
      }
    }
    return super.findClass(name);
  }

  private static byte[] readClass(String path) {
    try (FileInputStream in = new FileInputStream(path)) {
      return in.readAllBytes();
    } catch (IOException e) {
      return null;
    }
  }
}
