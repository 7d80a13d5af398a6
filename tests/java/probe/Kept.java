package probe;

import java.security.SecureRandom;

/** Preloaded by a test's image: generators that are seeded in the zygote, and a warm-up hook. */
public final class Kept {
  public static final SecureRandom SHA1 = make("SHA1PRNG");
  public static final SecureRandom DRBG = make("DRBG");
  public static int hooked;

  private static SecureRandom make(String algorithm) {
    try {
      SecureRandom random = SecureRandom.getInstance(algorithm);
      random.nextInt();
      return random;
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  public static void warmUp() {
    hooked++;
  }

  private Kept() {}
}
