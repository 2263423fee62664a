"""What the two programs are made of; a package, so as not to hide modules of your server's."""
