"""Discovery: which sites the pixel is seen on."""
