import com.android.apksig.ApkSigner;
import com.android.apksig.ApkVerifier;
import java.io.File;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;

/** Signs an APK with the schemes v2 and v3, or verifies it: java Sign.java sign|verify IN OUT KEYSTORE PASSWORD ALIAS MIN_SDK. */
public class Sign {
  public static void main(String[] a) throws Exception {
    if (a[0].equals("verify")) verify(new File(a[1]), Integer.parseInt(a[6]));
    else sign(new File(a[1]), new File(a[2]), signer(a[3], a[4].toCharArray(), a[5]), Integer.parseInt(a[6]));
  }

  private static ApkSigner.SignerConfig signer(String path, char[] password, String alias) throws Exception {
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (FileInputStream stream = new FileInputStream(path)) {
      keys.load(stream, password);
    }
    X509Certificate certificate = (X509Certificate) keys.getCertificate(alias);
    return new ApkSigner.SignerConfig.Builder("CERT", (PrivateKey) keys.getKey(alias, password), List.of(certificate)).build();
  }

  private static void sign(File in, File out, ApkSigner.SignerConfig signer, int minSdk) throws Exception {
    new ApkSigner.Builder(List.of(signer)).setInputApk(in).setOutputApk(out).setMinSdkVersion(minSdk)
        .setV1SigningEnabled(false).setV2SigningEnabled(true).setV3SigningEnabled(true)
        .setAlignFileSize(true).setLibraryPageAlignmentBytes(16384).build().sign();
  }

  private static void verify(File apk, int minSdk) throws Exception {
    ApkVerifier.Result result = new ApkVerifier.Builder(apk).setMinCheckedPlatformVersion(minSdk).build().verify();
    if (!result.isVerified() || !result.isVerifiedUsingV2Scheme() || !result.isVerifiedUsingV3Scheme()) {
      System.err.println(result.getAllErrors());
      System.exit(1);
    }
  }
}
